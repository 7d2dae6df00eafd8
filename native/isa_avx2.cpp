#include "kernels.h"

namespace espalier {
const KernelTable avx2_kernels = {
    "avx2", "AVX2 and FMA",
    [] { return bool(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")); }};
}  // namespace espalier
