// The table of kernels every instruction set fills in; see dispatch.cpp for the choice.
#pragma once

#include <cstddef>
#include <cstdint>

namespace espalier {

struct KernelTable {
  const char* name;         // "scalar", "avx2", "avx512"
  const char* description;  // for people: what the processor must have
  bool (*supported)();      // processor and operating system both
};

extern const KernelTable scalar_kernels;
#if defined(__x86_64__)
extern const KernelTable avx2_kernels;
extern const KernelTable avx512_kernels;
#endif

}  // namespace espalier
