// What the FSSL paper's strategies do between two sparse products of the library: bias and clamp on
// the entries, dropping those that are 0, and dropping samples that are empty.
#include "common.h"

namespace espalier {

constexpr int scan_threads = 1024;

struct CsrStep {
  const int* offsets;  // [rows + 1], of the product
  const int* columns;
  float* values;      // clamped in place
  const float* bias;  // [outputs], of which none is above 0 where lower is 0
  float lower, upper;
  int rows;
  int* kept;           // [rows], entries that are not 0, then where the first goes
  int* offsets_after;  // [rows + 1]
  int* columns_after;
  float* values_after;
  const int* sample;  // [rows], whose row it is
  int* sample_after;
  int* totals;  // rows and entries that are left
  int drop;     // whether empty rows leave
  int* status;
};

// A warp for each row: bias and clamp, and how many entries stay.
extern "C" __global__ void __launch_bounds__(256) epilogue_csr(const CsrStep a) {
  const int row = blockIdx.x * (blockDim.x / warp_size) + threadIdx.x / warp_size;
  if (row >= a.rows) return;
  int kept = 0;
  bool overflowed = false;
  for (int e = a.offsets[row] + threadIdx.x % warp_size; e < a.offsets[row + 1]; e += warp_size) {
    const float value = clamp(a.values[e] + a.bias[a.columns[e]], a.lower, a.upper);
    a.values[e] = value;
    kept += value != 0.0f;
    overflowed |= !is_finite(value);
  }
  for (int step = warp_size / 2; step > 0; step /= 2) {
    kept += __shfl_xor_sync(every_lane, kept, step);
  }
  if (overflowed) atomicOr(a.status, overflow);
  if (threadIdx.x % warp_size == 0) a.kept[row] = kept;
}

// Sums over the threads before this one; `total` over all. Two numbers at a time.
__device__ inline int2 scan_block(int2 mine, int2* total) {
  __shared__ int2 of_thread[2][scan_threads];
  int side = 0;
  of_thread[0][threadIdx.x] = mine;
  __syncthreads();
  int2 sum = mine;
  for (int step = 1; step < scan_threads; step *= 2) {
    if (threadIdx.x >= step) {
      const int2 before = of_thread[side][threadIdx.x - step];
      sum = {sum.x + before.x, sum.y + before.y};
    }
    side = 1 - side;
    of_thread[side][threadIdx.x] = sum;
    __syncthreads();
  }
  *total = of_thread[side][scan_threads - 1];
  __syncthreads();
  return {sum.x - mine.x, sum.y - mine.y};
}

// One block: where the rows that stay begin, and whose they are; and, in `kept`, the place of the
// first entry that stays of each row.
extern "C" __global__ void __launch_bounds__(1024) place_rows(const CsrStep a) {
  int2 before = {0, 0};
  for (int first = 0; first < a.rows; first += scan_threads) {
    const int row = first + threadIdx.x;
    const int kept = row < a.rows ? a.kept[row] : 0;
    const bool stays = row < a.rows && (kept > 0 || !a.drop);
    int2 total;
    const int2 within = scan_block({stays, kept}, &total);
    if (stays) {
      const int place = before.x + within.x;
      a.offsets_after[place] = before.y + within.y;
      a.sample_after[place] = a.sample[row];
    }
    if (row < a.rows) a.kept[row] = before.y + within.y;
    before = {before.x + total.x, before.y + total.y};
  }
  if (threadIdx.x == 0) {
    a.offsets_after[before.x] = before.y;
    a.totals[0] = before.x;
    a.totals[1] = before.y;
  }
}

// A warp for each row: its entries move together, in their order.
extern "C" __global__ void __launch_bounds__(256) compact_csr(const CsrStep a) {
  const int row = blockIdx.x * (blockDim.x / warp_size) + threadIdx.x / warp_size;
  if (row >= a.rows) return;
  const int lane = threadIdx.x % warp_size;
  const int begin = a.offsets[row], end = a.offsets[row + 1];
  int to = a.kept[row];
  for (int first = begin; first < end; first += warp_size) {
    const int e = first + lane;
    const bool stays = e < end && a.values[e] != 0.0f;
    const unsigned votes = __ballot_sync(every_lane, stays);
    if (stays) {
      const int place = to + __popc(votes & ((1u << lane) - 1));
      a.columns_after[place] = a.columns[e];
      a.values_after[place] = a.values[e];
    }
    to += __popc(votes);
  }
}

struct DenseStep {
  float* values;      // [outputs][samples], clamped in place
  const float* bias;  // [outputs]
  float lower, upper;
  int64 samples;
  int outputs;
};

// Bias and clamp of a dense product; blockIdx.y counts outputs.
extern "C" __global__ void __launch_bounds__(256) epilogue_dense(const DenseStep a) {
  for (int output = blockIdx.y; output < a.outputs; output += gridDim.y) {
    float* values = a.values + output * a.samples;
    const float bias = a.bias[output];
    for (int64 s = blockIdx.x * (int64)blockDim.x + threadIdx.x; s < a.samples;
         s += (int64)gridDim.x * blockDim.x) {
      values[s] = clamp(values[s] + bias, a.lower, a.upper);
    }
  }
}

}  // namespace espalier
