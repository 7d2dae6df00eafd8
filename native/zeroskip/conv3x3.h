// 3 x 3 convolutions of stride 1, whose nine taps share every non-zero they find.
#pragma once

#include "zeroskip/zeroskip.h"

namespace espalier {

inline bool is_conv3x3(const ConvShape& shape) {
  return shape.kernel_h == 3 && shape.kernel_w == 3 && shape.stride_h == 1 && shape.stride_w == 1;
}

struct Conv3x3Operands {
  bool forward;  // source is the input; else it is the gradient of the output
  const float* source;
  const uint64_t* mask;
  WeightsView weights;
  const float* bias;  // or null
  float* target;
};

void zeroskip_conv3x3(const ConvShape& shape, const Conv3x3Operands& operands, int threads);

}  // namespace espalier
