// The last activations, out of their panels: row by row, or as the caller's samples and outputs.
#include "common.h"

namespace espalier {

struct StoreRows {
  const float* panels;
  float* rows;  // [slots, width]
  const int* count;
  int width, tile;
};

// Transposes 32 slots by 32 neurons through shared memory; 32 x 8 threads.
extern "C" __global__ void __launch_bounds__(256) store_rows(const StoreRows a) {
  __shared__ float transposed[warp_size][warp_size + 1];
  const int count = *a.count;
  const int first_slot = blockIdx.y * warp_size, first_neuron = blockIdx.x * warp_size;
  if (first_slot >= count) return;
  const int lane = threadIdx.x % warp_size, line = threadIdx.x / warp_size;
  const int slot = first_slot + lane;
  const float* panel = a.panels + (int64)(slot / a.tile) * a.width * a.tile + slot % a.tile;
  for (int i = line; i < warp_size; i += 8) {
    const int neuron = first_neuron + i;
    if (neuron < a.width) transposed[i][lane] = panel[(int64)neuron * a.tile];
  }
  __syncthreads();
  const int neuron = first_neuron + lane;
  for (int i = line; i < warp_size; i += 8) {
    if (first_slot + i < count && neuron < a.width) {
      a.rows[(int64)(first_slot + i) * a.width + neuron] = transposed[lane][i];
    }
  }
}

struct Expand {
  const float* panels;
  float* y;                 // [samples, outputs]
  const int* sample_state;  // [samples]: a slot, odd where it died, even at the fixed point
  const int* unit;          // [outputs], which neuron an output is, -1 for a constant
  const float* constant;    // [outputs]
  float saturated;
  int samples, outputs, width, tile;
};

// A thread for each output in turn; blockIdx.y counts samples.
extern "C" __global__ void __launch_bounds__(256) expand(const Expand a) {
  for (int sample = blockIdx.y; sample < a.samples; sample += gridDim.y) {
    const int slot = a.sample_state[sample];
    const int from = slot < 0 ? 0 : slot;
    const float* panel = a.panels + (int64)(from / a.tile) * a.width * a.tile + from % a.tile;
    for (int o = blockIdx.x * blockDim.x + threadIdx.x; o < a.outputs;
         o += gridDim.x * blockDim.x) {
      const int unit = a.unit[o];
      float value = a.constant[o];
      if (unit >= 0) {
        value = slot >= 0 ? panel[(int64)unit * a.tile] : slot % 2 == 0 ? a.saturated : 0.0f;
      }
      a.y[(int64)sample * a.outputs + o] = value;
    }
  }
}

}  // namespace espalier
