// Scratch memory that outlives a call: fresh pages cost more than the work of a small layer.
#pragma once

#include <cstddef>
#include <vector>

#include "memory/buffer.h"

namespace espalier {

// Holds `floats` floats, aligned to 64 bytes and of any content, until it goes out of scope.
class Scratch {
 public:
  explicit Scratch(size_t floats);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* data() { return block_.buffer.data(); }
  const float* data() const { return block_.buffer.data(); }

  struct Block {
    size_t floats = 0;
    Buffer buffer;
  };

 private:
  Block block_;
};

}  // namespace espalier
