// Products with a pattern whose values change: the three passes of a sparse layer in training.
//
// Batches lie by feature, [feature][batch], so that lanes are samples. Storage is float32 or
// bfloat16, sums are float32 and made by one thread in a fixed order.
#include "common.h"

namespace espalier {

struct alignas(2) Bf16 {
  unsigned short bits;
};

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(Bf16 value) { return __uint_as_float((unsigned)value.bits << 16); }

__device__ inline void from_float(float value, float* to) { *to = value; }
__device__ inline void from_float(float value, Bf16* to) {
  const unsigned bits = __float_as_uint(value);
  const unsigned to_even = 0x7fffu + ((bits >> 16) & 1u);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  to->bits = (unsigned short)(is_nan ? (bits >> 16) | 0x40u : (bits + to_even) >> 16);
}

template <typename T, int V>
struct alignas(sizeof(T) * V) Numbers {
  T at[V];
};

struct Spmm {
  const void* values;        // [nonzeros]
  const int64* offsets;      // [rows + 1]
  const int* columns;        // [nonzeros]
  const int* places;         // [nonzeros], where in values each entry is; null: in order
  const void* x;             // [columns][batch]
  const void* bias;          // [rows], or null
  void* y;                   // [rows][batch]
  int64 x_stride, y_stride;  // numbers from one feature to the next
  int64 batch;               // a multiple of V
  int rows;
};

// y = W x + bias, or with the transposed pattern dx = W^T dy: a warp for each row in turn, V
// samples to a lane.
template <typename T, int V>
__device__ inline void spmm(const Spmm& a) {
  const int warps = blockDim.x / warp_size;
  const int64 sample = ((int64)blockIdx.y * warp_size + threadIdx.x % warp_size) * V;
  if (sample >= a.batch) return;
  const T* values = (const T*)a.values;
  const T* x = (const T*)a.x + sample;
  T* y = (T*)a.y + sample;
  for (int row = blockIdx.x * warps + threadIdx.x / warp_size; row < a.rows;
       row += gridDim.x * warps) {
    float sum[V] = {};
    const int64 end = a.offsets[row + 1];
#pragma unroll 4
    for (int64 e = a.offsets[row]; e < end; ++e) {
      const float weight = to_float(values[a.places == nullptr ? e : a.places[e]]);
      const Numbers<T, V> in = *(const Numbers<T, V>*)(x + a.columns[e] * a.x_stride);
#pragma unroll
      for (int v = 0; v < V; ++v) sum[v] = fmaf(weight, to_float(in.at[v]), sum[v]);
    }
    const float bias = a.bias == nullptr ? 0.0f : to_float(((const T*)a.bias)[row]);
    Numbers<T, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) from_float(sum[v] + bias, &out.at[v]);
    *(Numbers<T, V>*)(y + row * a.y_stride) = out;
  }
}

extern "C" __global__ void __launch_bounds__(256) spmm_f32_1(const Spmm a) { spmm<float, 1>(a); }
extern "C" __global__ void __launch_bounds__(256) spmm_f32_4(const Spmm a) { spmm<float, 4>(a); }
extern "C" __global__ void __launch_bounds__(256) spmm_bf16_1(const Spmm a) { spmm<Bf16, 1>(a); }
extern "C" __global__ void __launch_bounds__(256) spmm_bf16_8(const Spmm a) { spmm<Bf16, 8>(a); }

struct Sddmm {
  const int64* offsets;  // [rows + 1]
  const int* columns;    // [nonzeros]
  const void* dy;        // [rows][batch]
  const void* x;         // [columns][batch]
  void* gradient;        // [nonzeros]
  int64 dy_stride, x_stride, batch;
  int rows;
};

// The gradient of each value: a block for each row, a warp for each entry in turn, whose lanes
// share the batch and add up in the order of a tree.
template <typename T, int V>
__device__ inline void sddmm(const Sddmm& a) {
  const int lane = threadIdx.x % warp_size, warps = blockDim.x / warp_size;
  for (int row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const T* dy = (const T*)a.dy + row * a.dy_stride;
    const int64 end = a.offsets[row + 1];
    for (int64 e = a.offsets[row] + threadIdx.x / warp_size; e < end; e += warps) {
      const T* x = (const T*)a.x + a.columns[e] * a.x_stride;
      float sum = 0.0f;
      for (int64 sample = (int64)lane * V; sample < a.batch; sample += warp_size * V) {
        const Numbers<T, V> left = *(const Numbers<T, V>*)(dy + sample);
        const Numbers<T, V> right = *(const Numbers<T, V>*)(x + sample);
#pragma unroll
        for (int v = 0; v < V; ++v) sum = fmaf(to_float(left.at[v]), to_float(right.at[v]), sum);
      }
      for (int step = warp_size / 2; step > 0; step /= 2) {
        sum += __shfl_xor_sync(every_lane, sum, step);
      }
      if (lane == 0) from_float(sum, (T*)a.gradient + e);
    }
  }
}

extern "C" __global__ void __launch_bounds__(256) sddmm_f32_1(const Sddmm a) { sddmm<float, 1>(a); }
extern "C" __global__ void __launch_bounds__(256) sddmm_f32_4(const Sddmm a) { sddmm<float, 4>(a); }
extern "C" __global__ void __launch_bounds__(256) sddmm_bf16_1(const Sddmm a) { sddmm<Bf16, 1>(a); }
extern "C" __global__ void __launch_bounds__(256) sddmm_bf16_8(const Sddmm a) { sddmm<Bf16, 8>(a); }

}  // namespace espalier
