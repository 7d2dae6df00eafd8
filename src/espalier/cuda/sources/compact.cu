// Dead and finished samples leave the batch: the living ones move together, on the device alone.
//
// `count_survivors` counts those that stay, by blocks of slots; `place_survivors` gives them their
// new slots in the old order; `gather` moves their activations. The host learns nothing and need
// not wait.
#include "common.h"

namespace espalier {

constexpr int slots_of_block = 256;

struct Compact {
  const int* count;  // living slots before
  int* count_after;
  const unsigned* flags;  // [slots]
  const int* sample;      // [slots], whose slot it is, before
  int* sample_after;
  int* source;        // [slots], the old slot of each new one
  int* sample_state;  // [samples], written for those that leave
  int* survivors;     // [blocks], how many of a block stay
  int drop;           // samples that are all zero leave
  int freeze;         // samples at the fixed point leave
  int moves;          // how often samples moved before
};

// The state of a sample that leaves: odd codes died, even ones are at the fixed point, and half
// of the code says at which move.
__device__ inline int state_of(const Compact& a, int slot) {
  return (a.flags[slot] & alive ? -2 : -1) - 2 * a.moves;
}

__device__ inline bool stays(const Compact& a, int slot, int count) {
  if (slot >= count) return false;
  const unsigned flags = a.flags[slot];
  if (!(flags & alive)) return !a.drop;
  return !a.freeze || (flags & unsaturated);
}

// How many threads before this one, and in the whole block, say yes.
__device__ inline int rank_in_block(bool yes, int* total) {
  __shared__ int of_warp[slots_of_block / warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const unsigned votes = __ballot_sync(every_lane, yes);
  if (lane == 0) of_warp[warp] = __popc(votes);
  __syncthreads();
  int before = 0, all = 0;
  for (int w = 0; w < slots_of_block / warp_size; ++w) {
    before += w < warp ? of_warp[w] : 0;
    all += of_warp[w];
  }
  *total = all;
  return before + __popc(votes & ((1u << lane) - 1));
}

extern "C" __global__ void __launch_bounds__(256) count_survivors(const Compact a) {
  int total;
  const int slot = blockIdx.x * slots_of_block + threadIdx.x;
  rank_in_block(stays(a, slot, *a.count), &total);
  if (threadIdx.x == 0) a.survivors[blockIdx.x] = total;
}

extern "C" __global__ void __launch_bounds__(256) place_survivors(const Compact a) {
  __shared__ int before_warp[slots_of_block / warp_size];
  const int count = *a.count;
  const int slot = blockIdx.x * slots_of_block + threadIdx.x;
  int before = 0;
  for (int b = threadIdx.x; b < blockIdx.x; b += slots_of_block) before += a.survivors[b];
  for (int step = warp_size / 2; step > 0; step /= 2) {
    before += __shfl_xor_sync(every_lane, before, step);
  }
  if (threadIdx.x % warp_size == 0) before_warp[threadIdx.x / warp_size] = before;
  int total;
  const bool remains = stays(a, slot, count);
  const int rank = rank_in_block(remains, &total);
  int first = 0;
  for (int w = 0; w < slots_of_block / warp_size; ++w) first += before_warp[w];
  if (remains) {
    a.source[first + rank] = slot;
    a.sample_after[first + rank] = a.sample[slot];
  } else if (slot < count) {
    a.sample_state[a.sample[slot]] = state_of(a, slot);
  }
  if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) *a.count_after = first + total;
}

struct Gather {
  const float* x;
  float* y;
  const int* count;   // living slots after
  const int* source;  // [slots]
  int width, tile;
};

// A warp for each neuron in turn; blockIdx.y counts groups of 32 new slots.
extern "C" __global__ void __launch_bounds__(256) gather(const Gather a) {
  const int count = *a.count;
  const int slot = blockIdx.y * warp_size + threadIdx.x % warp_size;
  if (slot / a.tile * a.tile >= count) return;
  const bool filled = slot < count;
  const int from = filled ? a.source[slot] : 0;
  const float* x = a.x + (int64)(from / a.tile) * a.width * a.tile + from % a.tile;
  float* y = a.y + (int64)(slot / a.tile) * a.width * a.tile + slot % a.tile;
  const int warps = blockDim.x / warp_size;
  for (int n = blockIdx.x * warps + threadIdx.x / warp_size; n < a.width; n += gridDim.x * warps) {
    y[(int64)n * a.tile] = filled ? x[(int64)n * a.tile] : 0.0f;
  }
}

struct Begin {
  int* sample;        // [slots]
  int* sample_state;  // [samples]
  int* count;
  int samples;
};

// Every sample starts in the slot of its number.
extern "C" __global__ void __launch_bounds__(256) begin(const Begin a) {
  const int slot = blockIdx.x * blockDim.x + threadIdx.x;
  if (slot == 0) *a.count = a.samples;
  if (slot < a.samples) {
    a.sample[slot] = slot;
    a.sample_state[slot] = slot;
  }
}

// What is left at the end: the state of every sample becomes its slot.
extern "C" __global__ void __launch_bounds__(256) settle(const Compact a) {
  const int slot = blockIdx.x * blockDim.x + threadIdx.x;
  if (slot < *a.count) a.sample_state[a.sample[slot]] = slot;
}

}  // namespace espalier
