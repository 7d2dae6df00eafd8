// The caller's samples, put into panels and checked while they pass.
#include "common.h"

namespace espalier {

struct LoadDense {
  const float* x;
  int64 row_stride, column_stride;  // in numbers
  float* panels;
  int samples, inputs, tile;
  int* status;
};

// One block transposes 32 samples by 32 inputs through shared memory, so that both sides are read
// and written along their lines. blockIdx.x counts inputs, blockIdx.y samples; 32 x 8 threads.
// Slots up to the end of the panel are filled, with zeros where no sample is.
extern "C" __global__ void __launch_bounds__(256) load_dense(const LoadDense a) {
  __shared__ float transposed[warp_size][warp_size + 1];
  const int lane = threadIdx.x % warp_size, line = threadIdx.x / warp_size;
  const int first_input = blockIdx.x * warp_size, first_slot = blockIdx.y * warp_size;
  const bool along_inputs = a.column_stride == 1;
  bool bad = false;
  for (int i = line; i < warp_size; i += 8) {
    const int slot = first_slot + (along_inputs ? i : lane);
    const int input = first_input + (along_inputs ? lane : i);
    float value = 0.0f;
    if (slot < a.samples && input < a.inputs) {
      value = a.x[slot * a.row_stride + input * a.column_stride];
      bad |= !is_finite(value);
    }
    if (along_inputs) {
      transposed[i][lane] = value;
    } else {
      transposed[lane][i] = value;
    }
  }
  if (bad) atomicOr(a.status, bad_sample);
  __syncthreads();
  const int slot = first_slot + lane;
  float* panel = a.panels + (int64)(slot / a.tile) * a.inputs * a.tile + slot % a.tile;
  for (int i = line; i < warp_size; i += 8) {
    const int input = first_input + i;
    if (input < a.inputs) panel[(int64)input * a.tile] = transposed[lane][i];
  }
}

template <typename Index>
struct LoadCsr {
  const Index* row_offsets;     // of all samples
  const Index* column_indices;  // no column twice in a row
  const float* values;
  float* panels;  // zeroed before
  int first, samples, inputs, tile;
  int* status;
};

// A warp for each sample; its non-zeros land in its lane of the panel.
template <typename Index>
__device__ inline void load_csr(const LoadCsr<Index>& a) {
  const int warps = blockDim.x / warp_size;
  const int slot = blockIdx.x * warps + threadIdx.x / warp_size;
  if (slot >= a.samples) return;
  float* panel = a.panels + (int64)(slot / a.tile) * a.inputs * a.tile + slot % a.tile;
  const Index begin = a.row_offsets[a.first + slot], end = a.row_offsets[a.first + slot + 1];
  bool bad = false;
  for (Index i = begin + threadIdx.x % warp_size; i < end; i += warp_size) {
    const Index column = a.column_indices[i];
    const float value = a.values[i];
    const bool inside = column >= 0 && column < a.inputs;
    bad |= !inside || !is_finite(value);
    if (inside) panel[(int64)column * a.tile] = value;
  }
  if (bad) atomicOr(a.status, bad_sample);
}

extern "C" __global__ void __launch_bounds__(256) load_csr_int32(const LoadCsr<int> a) {
  load_csr(a);
}

extern "C" __global__ void __launch_bounds__(256) load_csr_int64(const LoadCsr<int64> a) {
  load_csr(a);
}

}  // namespace espalier
