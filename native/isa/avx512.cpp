#define ESPALIER_AVX512 1
#include <immintrin.h>

#include "isa/kernels.h"

namespace espalier {
namespace avx512 {

#include "isa/simd.h"
#include "isa/simd_masks.h"

#include "inference/panel-inl.h"
#include "inference/scatter-inl.h"
#include "inference/spmm-inl.h"
#include "isa/ceilings-inl.h"
#include "pattern/pattern-inl.h"
#include "zeroskip/masks-inl.h"
#include "zeroskip/zeroskip-inl.h"

}  // namespace avx512

const KernelTable avx512_kernels = {
    .name = "avx512",
    .description = "AVX-512 F, BW, DQ and VL, BMI",
    .supported =
        [] {
          return bool(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt"));
        },
    .spmm = avx512::spmm,
    .scatter_i32 = avx512::scatter<int32_t>,
    .scatter_i64 = avx512::scatter<int64_t>,
    .finish_row = avx512::finish_row,
    .rows_to_panel = avx512::rows_to_panel,
    .panel_to_rows = avx512::panel_to_rows,
    .all_finite = avx512::all_finite,
    .pack_lanes = avx512::pack_lanes,
    .multiply_adds = avx512::multiply_adds,
    .read_floats = avx512::read_floats,
    .zeroskip = avx512::zeroskip_kernels,
    .pattern = avx512::pattern_kernels,
};

}  // namespace espalier
