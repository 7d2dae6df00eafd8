#define ESPALIER_SCALAR 1

#include "isa/kernels.h"

namespace espalier {
namespace scalar {

#include "isa/simd.h"
#include "isa/simd_masks.h"

#include "inference/panel-inl.h"
#include "inference/scatter-inl.h"
#include "inference/spmm-inl.h"
#include "isa/ceilings-inl.h"
#include "pattern/pattern-inl.h"
#include "zeroskip/masks-inl.h"
#include "zeroskip/zeroskip-inl.h"

}  // namespace scalar

const KernelTable scalar_kernels = {
    .name = "scalar",
    .description = "any processor",
    .supported = [] { return bool(true); },
    .spmm = scalar::spmm,
    .scatter_i32 = scalar::scatter<int32_t>,
    .scatter_i64 = scalar::scatter<int64_t>,
    .finish_row = scalar::finish_row,
    .rows_to_panel = scalar::rows_to_panel,
    .panel_to_rows = scalar::panel_to_rows,
    .all_finite = scalar::all_finite,
    .pack_lanes = scalar::pack_lanes,
    .multiply_adds = scalar::multiply_adds,
    .read_floats = scalar::read_floats,
    .zeroskip = scalar::zeroskip_kernels,
    .pattern = scalar::pattern_kernels,
};

}  // namespace espalier
