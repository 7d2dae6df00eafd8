// CUDA's words for an ordinary C++ compiler: the kernels' own sources run on the CPU.
//
// The threads of a block are fibers that run until they wait. They take turns in an order that a
// seed shuffles, so a barrier that is missing shows as a result that depends on the seed. A
// barrier that some threads of a block do not reach is an error, and so is waiting for ever.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace emulator {

constexpr unsigned warp = 32;
constexpr size_t stack_bytes = 64 << 10;

struct Index {
  unsigned x, y, z;
};

enum class State { ready, at_warp, at_block, done };

struct Fiber {
  ucontext_t context;
  State state;
  int line;            // of the barrier it waits at
  unsigned rounds;     // exchanges of its warp it took part in
};

struct Exchange {
  unsigned long long slots[2][warp];  // of this exchange and the one before
};

inline Index thread_index, block_index, block_size, grid_size;
inline ucontext_t scheduler;
inline std::vector<Fiber> fibers;
inline std::vector<char> stacks;
inline std::vector<Exchange> exchanges;
inline unsigned current;
inline char* dynamic_shared;
inline std::string error;
inline void (*kernel)(const void*);
inline const void* argument;

inline void wait(State state, int line) {
  Fiber& fiber = fibers[current];
  fiber.state = state;
  fiber.line = line;
  swapcontext(&fiber.context, &scheduler);
}

inline void run_fiber() {
  kernel(argument);
  fibers[current].state = State::done;
}

// What lane `from` of this thread's warp gives; every lane of the warp must come.
template <typename T>
T exchange(T value, unsigned from, int line) {
  static_assert(sizeof(T) <= sizeof(unsigned long long));
  const unsigned round = fibers[current].rounds++ % 2;
  unsigned long long* slots = exchanges[current / warp].slots[round];
  std::memcpy(slots + current % warp, &value, sizeof(T));
  wait(State::at_warp, line);
  T given;
  std::memcpy(&given, slots + from, sizeof(T));
  return given;
}

inline unsigned ballot(bool yes, int line) {
  const unsigned round = fibers[current].rounds % 2;
  exchange<int>(yes, 0, line);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < warp; ++lane) {
    votes |= unsigned(exchanges[current / warp].slots[round][lane] & 1) << lane;
  }
  return votes;
}

// Lets the fibers [begin, end) go on if all of them that are not done wait in `state`.
inline bool release(unsigned begin, unsigned end, State state) {
  int line = -1;
  bool some = false, all = true, one_is_done = false, same_line = true;
  for (unsigned f = begin; f < end; ++f) {
    if (fibers[f].state == state) {
      some = true;
      same_line &= line < 0 || line == fibers[f].line;
      line = fibers[f].line;
    } else {
      one_is_done |= fibers[f].state == State::done;
      all &= fibers[f].state == State::done;
    }
  }
  if (!some || !all) return false;
  if (one_is_done) error = "threads wait in line " + std::to_string(line) + ", others are done";
  if (!same_line) error = "threads wait at different barriers, one in line " + std::to_string(line);
  for (unsigned f = begin; f < end; ++f) {
    if (fibers[f].state == state) fibers[f].state = State::ready;
  }
  return true;
}

inline void prepare_fiber(unsigned f) {
  Fiber& fiber = fibers[f];
  fiber.state = State::ready;
  fiber.rounds = 0;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stacks.data() + f * stack_bytes;
  fiber.context.uc_stack.ss_size = stack_bytes;
  fiber.context.uc_link = &scheduler;
  makecontext(&fiber.context, run_fiber, 0);
}

inline void run_block(const std::vector<unsigned>& order) {
  const unsigned count = unsigned(order.size());
  for (unsigned f = 0; f < count; ++f) prepare_fiber(f);
  for (bool left = true; left && error.empty();) {
    for (unsigned f : order) {
      if (fibers[f].state != State::ready) continue;
      current = f;
      thread_index = {f, 0, 0};
      swapcontext(&scheduler, &fibers[f].context);
    }
    bool released = false;
    for (unsigned f = 0; f < count; f += warp) {
      released |= release(f, std::min(f + warp, count), State::at_warp);
    }
    if (!released) released = release(0, count, State::at_block);
    left = released;
  }
  for (unsigned f = 0; f < count && error.empty(); ++f) {
    if (fibers[f].state != State::done) error = "threads wait for ever";
  }
}

// Runs a kernel; returns what went wrong, or null.
inline const char* launch(void (*which)(const void*), const unsigned* grid, unsigned threads,
                          size_t shared, const void* given, unsigned seed) {
  error.clear();
  kernel = which;
  argument = given;
  grid_size = {grid[0], grid[1], grid[2]};
  block_size = {threads, 1, 1};
  if (fibers.size() < threads) fibers.resize(threads);
  if (stacks.size() < threads * stack_bytes) stacks.resize(threads * stack_bytes);
  exchanges.assign((threads + warp - 1) / warp, {});
  std::vector<unsigned> order(threads);
  for (unsigned f = 0; f < threads; ++f) order[f] = f;
  std::mt19937 shuffler(seed);
  // A buffer of just this size lets the address sanitizer see what goes beyond.
  float* memory = static_cast<float*>(std::aligned_alloc(16, (shared + 31) / 16 * 16));
  dynamic_shared = reinterpret_cast<char*>(memory);
  for (unsigned z = 0; z < grid[2]; ++z) {
    for (unsigned y = 0; y < grid[1]; ++y) {
      for (unsigned x = 0; x < grid[0] && error.empty(); ++x) {
        if (seed) std::shuffle(order.begin(), order.end(), shuffler);
        std::fill(memory, memory + shared / 4, std::numeric_limits<float>::quiet_NaN());
        block_index = {x, y, z};
        // Shared memory is local to a thread of the system: a new one for each block, so that no
        // block finds what another left.
        std::thread([&] { run_block(order); }).join();
      }
    }
  }
  std::free(memory);
  return error.empty() ? nullptr : error.c_str();
}

}  // namespace emulator

#define __global__
#define __device__
#define __shared__ static thread_local
#define __launch_bounds__(threads)
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::dynamic_shared)

#define threadIdx emulator::thread_index
#define blockIdx emulator::block_index
#define blockDim emulator::block_size
#define gridDim emulator::grid_size

#define __syncthreads() emulator::wait(emulator::State::at_block, __LINE__)
#define __ballot_sync(mask, yes) emulator::ballot(yes, __LINE__)
#define __all_sync(mask, yes) (emulator::ballot(yes, __LINE__) == 0xffffffffu)
#define __shfl_xor_sync(mask, value, step) \
  emulator::exchange(value, (emulator::current % emulator::warp) ^ unsigned(step), __LINE__)

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <typename T>
T atomicOr(T* where, T bits) {
  const T before = *where;
  *where |= bits;
  return before;
}

template <typename T>
T atomicAdd(T* where, T value) {
  const T before = *where;
  *where += value;
  return before;
}

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

using std::fabs;

struct int2 {
  int x, y;
};
