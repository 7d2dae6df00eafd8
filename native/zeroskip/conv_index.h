// Which source pixels a target pixel meets through each tap of a convolution.
//
// Forward, the target is the output and the source the input; backward by input it is the other
// way round. A target row and a tap meet at most one source row, along one evenly spaced run.
#pragma once

#include <algorithm>

#include "zeroskip/zeroskip.h"

namespace espalier {

// Pixels target_begin + i * target_step of a target row meet source pixels
// source_begin + i * source_step of the whole source.
struct Run {
  int64_t target_begin, target_step;
  int64_t source_begin, source_step;
  int64_t count;
};

class ConvIndex {
 public:
  enum class Direction { forward, backward };

  ConvIndex(const ConvShape& shape, Direction direction)
      : shape_(shape), forward_(direction == Direction::forward) {
    target_height_ = forward_ ? shape.out_height : shape.height;
    target_width_ = forward_ ? shape.out_width : shape.width;
    source_height_ = forward_ ? shape.height : shape.out_height;
    source_width_ = forward_ ? shape.width : shape.out_width;
    rows_ = shape.images * target_height_;
    if (shape.is_pointwise()) {
      pixels_ = shape.output_pixels();
      target_width_ = source_width_ = std::min<int64_t>(pixels_, pointwise_width);
      rows_ = target_width_ ? (pixels_ + target_width_ - 1) / target_width_ : 0;
    } else {
      pixels_ = rows_ * target_width_;
    }
  }

  bool is_pointwise() const { return shape_.is_pointwise(); }
  int64_t rows() const { return rows_; }
  int64_t width() const { return target_width_; }
  int64_t pixels() const { return pixels_; }

  // Target pixels of rows `begin` to `end`: only the very last row may be short.
  int64_t pixels_of(int64_t begin, int64_t end) const {
    return std::min(end * target_width_, pixels_) - begin * target_width_;
  }

  Run run(int64_t target_row, int r, int s) const {
    if (shape_.is_pointwise()) {
      const int64_t first = target_row * target_width_;
      return {0, 1, first, 1, std::min(target_width_, pixels_ - first)};
    }
    const int64_t image = target_row / target_height_;
    const int64_t row = target_row % target_height_;
    const int64_t shift = s - shape_.pad_w;
    const int64_t stride = shape_.stride_w;
    // Output columns q with 0 <= q * stride + shift < width of the input.
    const int64_t first = shift < 0 ? (-shift + stride - 1) / stride : 0;
    const int64_t last = shape_.width - 1 < shift
                             ? -1
                             : std::min(shape_.out_width - 1, (shape_.width - 1 - shift) / stride);
    const int64_t source_row =
        forward_ ? row * shape_.stride_h + r - shape_.pad_h : output_row(row + shape_.pad_h - r);
    if (source_row < 0 || source_row >= source_height_ || last < first) return {0, 1, 0, 1, 0};
    const int64_t source = (image * source_height_ + source_row) * source_width_;
    const int64_t column = first * stride + shift;
    const int64_t count = last - first + 1;
    if (forward_) return {first, 1, source + column, stride, count};
    return {column, stride, source + first, 1, count};
  }

  // Calls visit(target, run) for the target rows begin ... end that tap meets something in;
  // `target` is the run's first target pixel, counted from row `begin` on.
  template <typename Visit>
  void for_each_run(int64_t begin, int64_t end, int tap, const Visit& visit) const {
    for (int64_t row = begin; row < end; ++row) {
      const Run met = run(row, tap / shape_.kernel_w, tap % shape_.kernel_w);
      if (met.count) visit((row - begin) * target_width_ + met.target_begin, met);
    }
  }

 private:
  static constexpr int64_t pointwise_width = 64;

  int64_t output_row(int64_t scaled) const {
    return scaled < 0 || scaled % shape_.stride_h ? -1 : scaled / shape_.stride_h;
  }

  ConvShape shape_;
  bool forward_;
  int64_t target_height_, target_width_, source_height_, source_width_;
  int64_t rows_, pixels_;
};

}  // namespace espalier
