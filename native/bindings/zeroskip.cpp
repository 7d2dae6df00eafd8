// Zero-skipping convolutions, masks and ReLU.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <tuple>

#include "bindings/bindings.h"
#include "isa/dispatch.h"
#include "zeroskip/zeroskip.h"

using namespace espalier;

namespace {

using Images = Array<float, 4>;
using Weights = nb::ndarray<const float, nb::numpy, nb::ndim<4>, nb::device::cpu>;
using Mask = Array<uint64_t, 2>;
using Pair = std::tuple<int, int>;

WeightsView view_of(const Weights& weights) {
  return {weights.data(), weights.stride(0), weights.stride(1), weights.stride(2),
          weights.stride(3)};
}

void require_images(const nb::ndarray<>& images, int64_t count, int64_t height, int64_t width,
                    int64_t channels, const char* what) {
  require(images.shape(0) == size_t(count) && images.shape(1) == size_t(height) &&
              images.shape(2) == size_t(width) && images.shape(3) == size_t(channels),
          what);
}

void require_mask(const Mask& mask, int64_t rows, int64_t channels) {
  require(mask.shape(0) == size_t(rows) && mask.shape(1) == size_t(words_of(channels)),
          "mask must have a row for each pixel and a word for each 64 channels");
}

int64_t output_size(int64_t size, int taps, int stride, int padding) {
  require(taps >= 1 && stride >= 1 && padding >= 0,
          "kernel and stride must be at least 1, padding at least 0");
  const int64_t room = size + 2 * int64_t(padding) - taps;
  require(room >= 0, "the kernel is larger than the padded input");
  return room / stride + 1;
}

ConvShape shape_of(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t filters,
                   const Pair& kernel, const Pair& stride, const Pair& padding) {
  require(channels >= 1 && filters >= 1, "there must be at least one channel and one filter");
  ConvShape shape{};
  shape.images = images;
  shape.height = height;
  shape.width = width;
  shape.channels = channels;
  shape.filters = filters;
  std::tie(shape.kernel_h, shape.kernel_w) = kernel;
  std::tie(shape.stride_h, shape.stride_w) = stride;
  std::tie(shape.pad_h, shape.pad_w) = padding;
  shape.out_height = output_size(height, shape.kernel_h, shape.stride_h, shape.pad_h);
  shape.out_width = output_size(width, shape.kernel_w, shape.stride_w, shape.pad_w);
  return shape;
}

ConvShape shape_of(const Images& x, const Weights& weights, const Pair& stride,
                   const Pair& padding) {
  require(weights.shape(3) == x.shape(3), "weights and x must have the same channels");
  return shape_of(int64_t(x.shape(0)), int64_t(x.shape(1)), int64_t(x.shape(2)),
                  int64_t(x.shape(3)), int64_t(weights.shape(0)),
                  {int(weights.shape(1)), int(weights.shape(2))}, stride, padding);
}

void bind_masks(nb::module_& module) {
  module.def(
      "nonzero_mask",
      [](const Array<float, 2>& x, Output<uint64_t, 2> mask, int threads) {
        const int64_t rows = int64_t(x.shape(0)), channels = int64_t(x.shape(1));
        require_mask(Mask(mask), rows, channels);
        nb::gil_scoped_release released;
        nonzero_mask(x.data(), rows, channels, mask.data(), thread_count(threads));
      },
      nb::arg("x").noconvert(), nb::arg("mask").noconvert(), nb::arg("threads"));
  module.def(
      "relu_forward",
      [](const Array<float, 2>& x, Output<float, 2> y, Output<uint64_t, 2> mask, int threads) {
        const int64_t rows = int64_t(x.shape(0)), channels = int64_t(x.shape(1));
        require(y.shape(0) == x.shape(0) && y.shape(1) == x.shape(1), "y must be as large as x");
        require_mask(Mask(mask), rows, channels);
        nb::gil_scoped_release released;
        relu_forward(x.data(), rows, channels, y.data(), mask.data(), thread_count(threads));
      },
      nb::arg("x").noconvert(), nb::arg("y").noconvert(), nb::arg("mask").noconvert(),
      nb::arg("threads"));
  module.def(
      "relu_backward",
      [](const Array<float, 2>& dy, const Mask& mask, Output<float, 2> dx, int threads) {
        const int64_t rows = int64_t(dy.shape(0)), channels = int64_t(dy.shape(1));
        require(dx.shape(0) == dy.shape(0) && dx.shape(1) == dy.shape(1),
                "dx must be as large as dy");
        require_mask(mask, rows, channels);
        nb::gil_scoped_release released;
        relu_backward(dy.data(), mask.data(), rows, channels, dx.data(), thread_count(threads));
      },
      nb::arg("dy").noconvert(), nb::arg("mask").noconvert(), nb::arg("dx").noconvert(),
      nb::arg("threads"));
  module.def(
      "count_nonzero",
      [](const Mask& mask) { return count_nonzero(mask.data(), int64_t(mask.size())); },
      nb::arg("mask").noconvert());
}

}  // namespace

void bind_zeroskip(nb::module_& module) {
  bind_masks(module);
  module.def(
      "zeroskip_forward",
      [](const Images& x, const Mask& mask, const Weights& weights,
         const std::optional<Array<float>>& bias, const Pair& stride, const Pair& padding,
         Output<float, 4> y, int threads) {
        const ConvShape shape = shape_of(x, weights, stride, padding);
        require_mask(mask, shape.input_pixels(), shape.channels);
        require(!bias || bias->size() == size_t(shape.filters),
                "bias must have one value for each filter");
        require_images(nb::ndarray<>(y), shape.images, shape.out_height, shape.out_width,
                       shape.filters, "y has the wrong shape");
        nb::gil_scoped_release released;
        zeroskip_forward(shape, x.data(), mask.data(), view_of(weights),
                         bias ? bias->data() : nullptr, y.data(), thread_count(threads));
      },
      nb::arg("x").noconvert(), nb::arg("mask").noconvert(), nb::arg("weights").noconvert(),
      nb::arg("bias").noconvert().none(), nb::arg("stride"), nb::arg("padding"),
      nb::arg("y").noconvert(), nb::arg("threads"));
  module.def(
      "zeroskip_backward_input",
      [](const Images& dy, const Mask& mask, bool mask_is_needed, const Weights& weights,
         const Pair& stride, const Pair& padding, Output<float, 4> dx, int threads) {
        const ConvShape shape = shape_of(Images(dx), weights, stride, padding);
        require_images(nb::ndarray<>(dy), shape.images, shape.out_height, shape.out_width,
                       shape.filters, "dy has not the shape of this convolution's output");
        if (mask_is_needed) {
          require_mask(mask, shape.input_pixels(), shape.channels);
        } else {
          require_mask(mask, shape.output_pixels(), shape.filters);
        }
        nb::gil_scoped_release released;
        const auto pass = mask_is_needed ? zeroskip_masked_input_grad : zeroskip_backward_input;
        pass(shape, dy.data(), mask.data(), view_of(weights), dx.data(), thread_count(threads));
      },
      nb::arg("dy").noconvert(), nb::arg("mask").noconvert(), nb::arg("mask_is_needed"),
      nb::arg("weights").noconvert(), nb::arg("stride"), nb::arg("padding"),
      nb::arg("dx").noconvert(), nb::arg("threads"));
  module.def(
      "zeroskip_backward_weight",
      [](const Images& x, const Images& dy, const Mask& mask, bool mask_is_of_input,
         const Pair& stride, const Pair& padding, Output<float, 4> dw, int threads) {
        const ConvShape shape = shape_of(x, Weights(dw), stride, padding);
        require_images(nb::ndarray<>(dy), shape.images, shape.out_height, shape.out_width,
                       shape.filters, "dy has not the shape of this convolution's output");
        if (mask_is_of_input) {
          require_mask(mask, shape.input_pixels(), shape.channels);
        } else {
          require_mask(mask, shape.output_pixels(), shape.filters);
        }
        nb::gil_scoped_release released;
        zeroskip_backward_weight(shape, x.data(), dy.data(), mask.data(),
                                 mask_is_of_input ? Skip::input : Skip::gradient, dw.data(),
                                 thread_count(threads));
      },
      nb::arg("x").noconvert(), nb::arg("dy").noconvert(), nb::arg("mask").noconvert(),
      nb::arg("mask_is_of_input"), nb::arg("stride"), nb::arg("padding"), nb::arg("dw").noconvert(),
      nb::arg("threads"));
}
