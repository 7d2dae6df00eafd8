#include "kernels.h"

namespace espalier {
const KernelTable avx512_kernels = {
    "avx512", "AVX-512 F, BW, DQ and VL", [] {
      return bool(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
    }};
}  // namespace espalier
