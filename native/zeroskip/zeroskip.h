// Convolution and linear layers that skip zeros of activations or gradients, in all three passes of
// training. Images are [images][height][width][channels], weights [filters][taps][channels] of any
// strides; a mask of non-zeros has 64 channels to a word. A linear layer is a convolution with one
// tap over images of one pixel.
#pragma once

#include <cstdint>

namespace espalier {

struct ConvShape {
  int64_t images;
  int64_t height, width, channels;         // of the input
  int64_t out_height, out_width, filters;  // of the output
  int kernel_h, kernel_w;
  int stride_h, stride_w;
  int pad_h, pad_w;

  int taps() const { return kernel_h * kernel_w; }
  int64_t input_pixels() const { return images * height * width; }
  int64_t output_pixels() const { return images * out_height * out_width; }
  // One tap that meets every pixel once: images are then nothing but rows of a matrix.
  bool is_pointwise() const {
    return taps() == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0;
  }
};

// weights[filter][row][column][channel], strides in floats.
struct WeightsView {
  const float* data;
  int64_t filter, row, column, channel;
};

inline int64_t words_of(int64_t channels) { return (channels + 63) / 64; }

void nonzero_mask(const float* x, int64_t rows, int64_t channels, uint64_t* mask, int threads);
void relu_forward(const float* x, int64_t rows, int64_t channels, float* y, uint64_t* mask,
                  int threads);
void relu_backward(const float* dy, const uint64_t* mask, int64_t rows, int64_t channels, float* dx,
                   int threads);
int64_t count_nonzero(const uint64_t* mask, int64_t words);

// y = x * weights + bias, skipping the zeros of x. `bias` may be null.
void zeroskip_forward(const ConvShape& shape, const float* x, const uint64_t* x_mask,
                      const WeightsView& weights, const float* bias, float* y, int threads);

// dx = dy * weights transposed, skipping the zeros of dy.
void zeroskip_backward_input(const ConvShape& shape, const float* dy, const uint64_t* dy_mask,
                             const WeightsView& weights, float* dx, int threads);

// The same where `needed`, a mask of dx, is set; 0 elsewhere. dy may be dense.
void zeroskip_masked_input_grad(const ConvShape& shape, const float* dy, const uint64_t* needed,
                                const WeightsView& weights, float* dx, int threads);

enum class Skip { input, gradient };

// dw[filter][row][column][channel], skipping the zeros of the operand `mask` belongs to.
void zeroskip_backward_weight(const ConvShape& shape, const float* x, const float* dy,
                              const uint64_t* mask, Skip skip, float* dw, int threads);

}  // namespace espalier
