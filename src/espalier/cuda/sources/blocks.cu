// spmm for rows that share columns: a warp takes up to 16 rows, whose sums stay in registers.
//
// Each loaded activation feeds all rows of the block, so the multiply-add units are the ceiling.
#include "common.h"

namespace espalier {

constexpr int block_rows = 16;

struct alignas(16) Weights4 {
  float at[4];
};

struct Blocks {
  const float* x;
  float* y;
  const int* count;         // living slots
  const int64* offsets;     // [block_count + 1] into columns
  const int* columns;       // rising within a block
  const Weights4* weights;  // [columns][16 rows], zeros where a block has fewer rows
  const int* rows;          // [block_count][16], which output each row is, -1 for none
  int block_count, inputs, outputs;
  Epilogue epilogue;
};

template <int V>
__device__ inline void multiply_blocks(const Blocks& a) {
  constexpr int tile = warp_size * V;
  const int count = *a.count, panel = blockIdx.y;
  if (panel * tile >= count) return;
  const int lane = threadIdx.x % warp_size * V;
  const int warps = blockDim.x / warp_size;
  const float* x = a.x + (int64)panel * a.inputs * tile + lane;
  float* y = a.y + (int64)panel * a.outputs * tile + lane;
  SlotFlags<V> flags;
  for (int b = blockIdx.x * warps + threadIdx.x / warp_size; b < a.block_count;
       b += gridDim.x * warps) {
    Lanes<V> sum[block_rows] = {};
    const int64 end = a.offsets[b + 1];
#pragma unroll 2
    for (int64 k = a.offsets[b]; k < end; ++k) {
      const Lanes<V> in = *(const Lanes<V>*)(x + (int64)a.columns[k] * tile);
#pragma unroll
      for (int quad = 0; quad < block_rows / 4; ++quad) {
        const Weights4 weights = a.weights[k * (block_rows / 4) + quad];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
#pragma unroll
          for (int v = 0; v < V; ++v) {
            float& into = sum[4 * quad + r].at[v];
            into = fmaf(weights.at[r], in.at[v], into);
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < block_rows; ++r) {
      const int row = a.rows[b * block_rows + r];
      if (row < 0) continue;
      const float bias = a.epilogue.bias[row];
      Lanes<V> out;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        out.at[v] = clamp(sum[r].at[v] + bias, a.epilogue.lower, a.epilogue.upper);
        if (panel * tile + lane + v < count) flags.add(v, out.at[v], a.epilogue.saturated);
      }
      *(Lanes<V>*)(y + (int64)row * tile) = out;
    }
  }
  flags.store(a.epilogue, panel * tile + lane, count);
}

extern "C" __global__ void __launch_bounds__(128) blocks_32(const Blocks a) {
  multiply_blocks<1>(a);
}
extern "C" __global__ void __launch_bounds__(128) blocks_64(const Blocks a) {
  multiply_blocks<2>(a);
}
extern "C" __global__ void __launch_bounds__(128) blocks_128(const Blocks a) {
  multiply_blocks<4>(a);
}

}  // namespace espalier
