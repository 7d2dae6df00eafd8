// What all kernels share: how activations lie, how a sum ends, what is flagged of a sample.
//
// The samples of a batch sit in slots, `tile` of them side by side in a panel: slot s of neuron n
// is at ((s / tile) * width + n) * tile + s % tile. Sums start at 0 and add in rising order of
// inputs with fused multiply-adds, as the kernels of the CPU do, so the bits are the same.
#pragma once

#ifdef ESPALIER_EMULATED
#include "emulator.h"
#endif

namespace espalier {

typedef long long int64;

constexpr int warp_size = 32;
constexpr unsigned every_lane = 0xffffffffu;

// Bits of the run's status, which only ever rise.
constexpr int bad_sample = 1;
constexpr int overflow = 2;

// Flags of a slot: some neuron is not 0; some neuron is not at the fixed point.
constexpr unsigned alive = 1;
constexpr unsigned unsaturated = 2;

struct alignas(8) Entry {
  int column;
  float weight;
};

// V values side by side, loaded and stored as one.
template <int V>
struct alignas(4 * V) Lanes {
  float at[V];
};

// What ends a sum, and where a kernel says what it saw.
struct Epilogue {
  const float* bias;   // [outputs]
  float lower, upper;  // clamp of the outputs
  float saturated;     // the fixed point, where a slot full of it is to be flagged
  unsigned* flags;     // [slots], or null where none are read
  int* status;
};

__device__ inline bool is_finite(float value) { return fabsf(value) <= 3.402823466e38f; }

__device__ inline float clamp(float value, float lower, float upper) {
  return fminf(fmaxf(value, lower), upper);
}

// What one thread saw of the slots it works on: V of them, from `slot` on.
template <int V>
struct SlotFlags {
  unsigned bits[V];
  bool overflowed;

  __device__ SlotFlags() : overflowed(false) {
    for (int v = 0; v < V; ++v) bits[v] = 0;
  }

  __device__ void add(int v, float value, float saturated) {
    bits[v] |= (value != 0.0f ? alive : 0u) | (value != saturated ? unsaturated : 0u);
    overflowed |= !is_finite(value);
  }

  // Slots beyond `count` hold no sample: what was computed there means nothing.
  __device__ void store(const Epilogue& epilogue, int slot, int count) const {
    if (slot >= count) return;
    if (overflowed) atomicOr(epilogue.status, overflow);
    if (epilogue.flags == nullptr) return;
    for (int v = 0; v < V; ++v) {
      if (slot + v < count && bits[v]) atomicOr(epilogue.flags + slot + v, bits[v]);
    }
  }
};

}  // namespace espalier
