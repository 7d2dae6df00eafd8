// spmm for rows with columns of their own: a warp takes a row, its lanes the samples of a panel.
//
// Each loaded activation feeds one multiply-add, so what the caches deliver is the ceiling; all
// row blocks of a panel lie side by side in the grid, so that its activations stay cached.
#include "common.h"

namespace espalier {

struct Rows {
  const float* x;
  float* y;
  const int* count;      // living slots
  const int64* offsets;  // [row_count + 1] into entries
  const Entry* entries;  // columns rise within a row
  const int* rows;       // [row_count], which output each row is
  int row_count, inputs, outputs;
  Epilogue epilogue;
};

template <int V>
__device__ inline void multiply_rows(const Rows& a) {
  constexpr int tile = warp_size * V;
  const int count = *a.count, panel = blockIdx.y;
  if (panel * tile >= count) return;
  const int lane = threadIdx.x % warp_size * V;
  const int warps = blockDim.x / warp_size;
  const float* x = a.x + (int64)panel * a.inputs * tile + lane;
  float* y = a.y + (int64)panel * a.outputs * tile + lane;
  SlotFlags<V> flags;
  for (int i = blockIdx.x * warps + threadIdx.x / warp_size; i < a.row_count;
       i += gridDim.x * warps) {
    Lanes<V> sum = {};
    const int64 end = a.offsets[i + 1];
#pragma unroll 4
    for (int64 e = a.offsets[i]; e < end; ++e) {
      const Entry entry = a.entries[e];
      const Lanes<V> in = *(const Lanes<V>*)(x + (int64)entry.column * tile);
      for (int v = 0; v < V; ++v) sum.at[v] = fmaf(entry.weight, in.at[v], sum.at[v]);
    }
    const int row = a.rows[i];
    const float bias = a.epilogue.bias[row];
    for (int v = 0; v < V; ++v) {
      sum.at[v] = clamp(sum.at[v] + bias, a.epilogue.lower, a.epilogue.upper);
      if (panel * tile + lane + v < count) flags.add(v, sum.at[v], a.epilogue.saturated);
    }
    *(Lanes<V>*)(y + (int64)row * tile) = sum;
  }
  flags.store(a.epilogue, panel * tile + lane, count);
}

extern "C" __global__ void __launch_bounds__(256) rows_32(const Rows a) { multiply_rows<1>(a); }
extern "C" __global__ void __launch_bounds__(256) rows_64(const Rows a) { multiply_rows<2>(a); }
extern "C" __global__ void __launch_bounds__(256) rows_128(const Rows a) { multiply_rows<4>(a); }

}  // namespace espalier
