// Aligned float storage on huge pages where the system grants them: panels span many pages.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace espalier {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t floats) {
    const size_t align = floats * sizeof(float) >= huge_page ? huge_page : 64;
    const size_t bytes = (floats * sizeof(float) + align - 1) / align * align;
    if (!bytes) return;
    data_.reset(static_cast<float*>(std::aligned_alloc(align, bytes)));
    if (!data_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (align == huge_page) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
  }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }

 private:
  static constexpr size_t huge_page = size_t(2) << 20;
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  std::unique_ptr<float, Free> data_;
};

}  // namespace espalier
