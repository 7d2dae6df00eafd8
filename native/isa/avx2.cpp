#define ESPALIER_AVX2 1
#include <immintrin.h>

#include "isa/kernels.h"

namespace espalier {
namespace avx2 {

#include "isa/simd.h"
#include "isa/simd_masks.h"

#include "inference/panel-inl.h"
#include "inference/scatter-inl.h"
#include "inference/spmm-inl.h"
#include "isa/ceilings-inl.h"
#include "pattern/pattern-inl.h"
#include "zeroskip/masks-inl.h"
#include "zeroskip/zeroskip-inl.h"

}  // namespace avx2

const KernelTable avx2_kernels = {
    .name = "avx2",
    .description = "AVX2, FMA and BMI",
    .supported =
        [] {
          return bool(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt"));
        },
    .spmm = avx2::spmm,
    .scatter_i32 = avx2::scatter<int32_t>,
    .scatter_i64 = avx2::scatter<int64_t>,
    .finish_row = avx2::finish_row,
    .rows_to_panel = avx2::rows_to_panel,
    .panel_to_rows = avx2::panel_to_rows,
    .all_finite = avx2::all_finite,
    .pack_lanes = avx2::pack_lanes,
    .multiply_adds = avx2::multiply_adds,
    .read_floats = avx2::read_floats,
    .zeroskip = avx2::zeroskip_kernels,
    .pattern = avx2::pattern_kernels,
};

}  // namespace espalier
