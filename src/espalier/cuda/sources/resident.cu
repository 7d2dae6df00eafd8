// Several layers in one kernel: the activations of some samples stay in shared memory.
//
// A block carries `slots` samples (4 to 32) through `depth` layers between two buffers; the last
// layer writes to the panels in global memory, so one layer alone needs one buffer. Weights lie
// in slices of 32 rows, entry k of all rows side by side. A block stops as soon as all of its
// samples died or reached the fixed point for good.
#include "common.h"

namespace espalier {

constexpr int quad = 4;  // samples a thread holds
constexpr int slice_rows = 32;

struct ResidentLayer {
  const int64* slice_offsets;  // [slices + 1], in steps of 32 entries
  const Entry* entries;        // [steps][32 rows], weight 0 behind the end of a row
  const float* bias;
  float lower, upper;
  float saturated;  // the fixed point, where all later layers keep it; else NaN
  int outputs;
  int droppable;  // an all-zero sample stays so to the end
};

struct Resident {
  const float* x;
  float* y;
  const int* count;             // living slots
  const ResidentLayer* layers;  // [depth]
  unsigned* flags;              // [slots], written whole
  unsigned* processed;          // [depth], samples multiplied; added to
  int* status;
  int depth, inputs, tile;
  int second;  // floats before the second buffer
  int drop;    // whether blocks of dead samples stop
};

// One thread's share of a layer: four samples of every row it is given.
template <int S>
__device__ inline void multiply_slices(const ResidentLayer& layer, const float* in, float* out,
                                       int64 out_stride, SlotFlags<quad>& flags, int valid) {
  constexpr int quads = S / quad, rows_at_once = warp_size / quads;
  const int lane = threadIdx.x % warp_size, warps = blockDim.x / warp_size;
  const int sample = lane % quads * quad, row_in_pass = lane / quads;
  const int slices = (layer.outputs + slice_rows - 1) / slice_rows;
  for (int unit = threadIdx.x / warp_size; unit < slices * quads; unit += warps) {
    const int slice = unit / quads;
    const int row_in_slice = unit % quads * rows_at_once + row_in_pass;
    const int row = slice * slice_rows + row_in_slice;
    if (row >= layer.outputs) continue;
    Lanes<quad> sum = {};
    const int64 end = layer.slice_offsets[slice + 1];
#pragma unroll 4
    for (int64 step = layer.slice_offsets[slice]; step < end; ++step) {
      const Entry entry = layer.entries[step * slice_rows + row_in_slice];
      const Lanes<quad> value = *(const Lanes<quad>*)(in + entry.column * S + sample);
#pragma unroll
      for (int v = 0; v < quad; ++v) sum.at[v] = fmaf(entry.weight, value.at[v], sum.at[v]);
    }
    const float bias = layer.bias[row];
#pragma unroll
    for (int v = 0; v < quad; ++v) {
      sum.at[v] = clamp(sum.at[v] + bias, layer.lower, layer.upper);
      if (sample + v < valid) flags.add(v, sum.at[v], layer.saturated);
    }
    *(Lanes<quad>*)(out + row * out_stride + sample) = sum;
  }
}

template <int S>
__device__ inline void run_resident(const Resident& a) {
  DYNAMIC_SHARED(float, buffers);
  // Three sets of flags: while one is written the one before is read and the next one cleared.
  __shared__ unsigned flags_of[3][warp_size];
  const int count = *a.count, first = blockIdx.x * S;
  if (first >= count) return;
  const int valid = count - first < S ? count - first : S;
  const int64 offset = first % a.tile;

  const float* x = a.x + (int64)(first / a.tile) * a.inputs * a.tile + offset;
  for (int i = threadIdx.x; i < a.inputs * (S / quad); i += blockDim.x) {
    const int input = i / (S / quad), sample = i % (S / quad) * quad;
    Lanes<quad> value = *(const Lanes<quad>*)(x + (int64)input * a.tile + sample);
    for (int v = 0; v < quad; ++v) {
      if (sample + v >= valid) value.at[v] = 0.0f;
    }
    *(Lanes<quad>*)(buffers + input * S + sample) = value;
  }
  for (int i = threadIdx.x; i < 3 * warp_size; i += blockDim.x) {
    flags_of[i / warp_size][i % warp_size] = 0;
  }
  __syncthreads();

  int last = 0;
  for (int l = 0; l < a.depth; ++l) {
    const ResidentLayer layer = a.layers[l];
    last = l;
    SlotFlags<quad> flags;
    const float* in = buffers + (l % 2 ? a.second : 0);
    if (l + 1 < a.depth) {
      float* out = buffers + (l % 2 ? 0 : a.second);
      multiply_slices<S>(layer, in, out, S, flags, valid);
    } else {
      float* out = a.y + (int64)(first / a.tile) * layer.outputs * a.tile + offset;
      multiply_slices<S>(layer, in, out, a.tile, flags, valid);
    }
    const int sample = threadIdx.x % (S / quad) * quad;
    for (int v = 0; v < quad; ++v) {
      if (flags.bits[v]) atomicOr(&flags_of[l % 3][sample + v], flags.bits[v]);
    }
    if (flags.overflowed) atomicOr(a.status, overflow);
    if (threadIdx.x < warp_size) flags_of[(l + 1) % 3][threadIdx.x] = 0;
    __syncthreads();

    const unsigned mine = flags_of[l % 3][threadIdx.x % S];
    const bool at_fixed_point = layer.saturated == layer.saturated && !(mine & unsaturated);
    const bool dead = a.drop && layer.droppable && !(mine & alive);
    const bool beyond = (int)(threadIdx.x % S) >= valid;
    if (__all_sync(every_lane, beyond || dead || at_fixed_point)) break;
  }
  if (threadIdx.x < valid) a.flags[first + threadIdx.x] = flags_of[last % 3][threadIdx.x];
  for (int l = threadIdx.x; l <= last; l += blockDim.x) atomicAdd(a.processed + l, (unsigned)valid);
}

extern "C" __global__ void __launch_bounds__(512) resident_4(const Resident a) {
  run_resident<4>(a);
}
extern "C" __global__ void __launch_bounds__(512) resident_8(const Resident a) {
  run_resident<8>(a);
}
extern "C" __global__ void __launch_bounds__(512) resident_16(const Resident a) {
  run_resident<16>(a);
}
extern "C" __global__ void __launch_bounds__(512) resident_32(const Resident a) {
  run_resident<32>(a);
}

}  // namespace espalier
