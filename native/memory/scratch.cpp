#include "memory/scratch.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace espalier {

namespace {

constexpr size_t max_kept = (size_t(64) << 20) / sizeof(float);

struct Pool {
  std::mutex mutex;
  std::vector<Scratch::Block> blocks;
  size_t floats = 0;
};

// Never destroyed: a thread may still hold a block when the process ends.
Pool& pool() {
  static Pool* kept = new Pool;
  return *kept;
}

}  // namespace

Scratch::Scratch(size_t floats) {
  {
    const std::lock_guard<std::mutex> lock(pool().mutex);
    auto& blocks = pool().blocks;
    auto best = blocks.end();
    for (auto block = blocks.begin(); block != blocks.end(); ++block) {
      const bool fits = block->floats >= floats;
      if (fits && (best == blocks.end() || block->floats < best->floats)) best = block;
    }
    if (best != blocks.end()) {
      block_ = std::move(*best);
      blocks.erase(best);
      pool().floats -= block_.floats;
      return;
    }
  }
  block_.buffer = Buffer(floats);
  block_.floats = floats;
}

Scratch::~Scratch() {
  const std::lock_guard<std::mutex> lock(pool().mutex);
  auto& blocks = pool().blocks;
  if (block_.floats > max_kept) return;
  try {
    blocks.push_back(std::move(block_));
  } catch (const std::bad_alloc&) {
    return;
  }
  pool().floats += blocks.back().floats;
  while (pool().floats > max_kept) {
    pool().floats -= blocks.front().floats;
    blocks.erase(blocks.begin());
  }
}

}  // namespace espalier
