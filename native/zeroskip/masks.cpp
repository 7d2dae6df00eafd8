// Masks and ReLU over all threads.
#include <algorithm>

#include "isa/dispatch.h"
#include "zeroskip/zeroskip.h"

namespace espalier {

namespace {

// Calls work(first row, rows) for parts of about equal size.
template <typename Work>
void for_row_parts(int64_t rows, int64_t channels, int threads, const Work& work) {
  constexpr int64_t part_floats = 1 << 15;
  const int64_t part = std::max<int64_t>(1, part_floats / std::max<int64_t>(1, channels));
  const int64_t parts = (rows + part - 1) / part;
#pragma omp parallel for num_threads(threads) schedule(static) if (parts > 1)
  for (int64_t i = 0; i < parts; ++i) work(i * part, std::min(part, rows - i * part));
}

}  // namespace

void nonzero_mask(const float* x, int64_t rows, int64_t channels, uint64_t* mask, int threads) {
  const ZeroSkipKernels& table = kernels().zeroskip;
  for_row_parts(rows, channels, threads, [&](int64_t first, int64_t count) {
    table.nonzero_mask(x + first * channels, count, channels, mask + first * words_of(channels));
  });
}

void relu_forward(const float* x, int64_t rows, int64_t channels, float* y, uint64_t* mask,
                  int threads) {
  const ZeroSkipKernels& table = kernels().zeroskip;
  for_row_parts(rows, channels, threads, [&](int64_t first, int64_t count) {
    table.relu_forward(x + first * channels, count, channels, y + first * channels,
                       mask + first * words_of(channels));
  });
}

void relu_backward(const float* dy, const uint64_t* mask, int64_t rows, int64_t channels, float* dx,
                   int threads) {
  const ZeroSkipKernels& table = kernels().zeroskip;
  for_row_parts(rows, channels, threads, [&](int64_t first, int64_t count) {
    table.relu_backward(dy + first * channels, mask + first * words_of(channels), count, channels,
                        dx + first * channels);
  });
}

int64_t count_nonzero(const uint64_t* mask, int64_t words) {
  int64_t bits = 0;
  for (int64_t i = 0; i < words; ++i) bits += __builtin_popcountll(mask[i]);
  return bits;
}

}  // namespace espalier
