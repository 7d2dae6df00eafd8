// Backward by weight sees a batch of images as one line of positions, so that a tap is a shift.
//
// Each image is laid out as out_height + (kernel_h - 1) / stride_h rows of
// out_width + (kernel_w - 1) / stride_w positions. dy fills the top left of it; the input falls
// apart into stride_h * stride_w planes, of which tap (r, s) reads plane (r % stride_h,
// s % stride_w), shifted by (r / stride_h, s / stride_w). Positions outside an image hold
// zeros.
#pragma once

#include <algorithm>

#include "zeroskip/zeroskip.h"

namespace espalier {

struct LinearPositions {
  explicit LinearPositions(const ConvShape& shape)
      : rows(shape.out_height + (shape.kernel_h - 1) / shape.stride_h),
        pitch(shape.out_width + (shape.kernel_w - 1) / shape.stride_w),
        count(shape.images * rows * pitch),
        max_shift((shape.kernel_h - 1) / shape.stride_h * pitch +
                  (shape.kernel_w - 1) / shape.stride_w) {}

  int64_t rows, pitch, count, max_shift;
};

// The pixels of an operand along the line of positions.
struct Plane {
  int64_t height, width;          // of the operand's images
  int64_t row_step, column_step;  // pixels between neighbours
  int64_t row_first, column_first;

  static Plane of_gradient(const ConvShape& shape) {
    return {shape.out_height, shape.out_width, 1, 1, 0, 0};
  }
  static Plane of_input(const ConvShape& shape, int row_phase, int column_phase) {
    return {shape.height,
            shape.width,
            shape.stride_h,
            shape.stride_w,
            row_phase - shape.pad_h,
            column_phase - shape.pad_w};
  }
};

// Calls run(offset, pixel, step, count) for runs of positions begin ... end that lie on
// pixels of the plane: position begin + offset + i is pixel `pixel + i * step`. `begin` may lie
// before the line.
template <typename Call>
void for_each_run(const LinearPositions& positions, const Plane& plane, int64_t begin, int64_t end,
                  const Call& run) {
  end = std::min(end, positions.count);
  for (int64_t at = std::max<int64_t>(begin, 0); at < end;) {
    const int64_t line = at / positions.pitch;
    const int64_t column = at % positions.pitch;
    const int64_t next = std::min(end, (line + 1) * positions.pitch);
    const int64_t row = line % positions.rows * plane.row_step + plane.row_first;
    if (row >= 0 && row < plane.height) {
      const int64_t before = -plane.column_first;
      const int64_t first =
          std::max(column, before > 0 ? (before + plane.column_step - 1) / plane.column_step : 0);
      const int64_t room = plane.width - 1 - plane.column_first;
      const int64_t last =
          std::min(column + next - at - 1, room < 0 ? -1 : room / plane.column_step);
      if (first <= last) {
        const int64_t image_row = line / positions.rows * plane.height + row;
        run(at - begin + first - column,
            image_row * plane.width + first * plane.column_step + plane.column_first,
            plane.column_step, last - first + 1);
      }
    }
    at = next;
  }
}

// 64 words of 64 bits: bit j of word i becomes bit i of word j.
inline void transpose_bits(uint64_t (&words)[64]) {
  uint64_t mask = 0x00000000ffffffff;
  for (int step = 32; step; step >>= 1, mask ^= mask << step) {
    for (int i = 0; i < 64; i = ((i | step) + 1) & ~step) {
      const uint64_t moved = ((words[i] >> step) ^ words[i | step]) & mask;
      words[i] ^= moved << step;
      words[i | step] ^= moved;
    }
  }
}

}  // namespace espalier
