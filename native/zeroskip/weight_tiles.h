// Weights cut into tiles that fit L1: 64 rows of the operand that is skipped by one panel of
// columns, a tile for each tap.
#pragma once

#include <algorithm>
#include <optional>

#include "isa/dispatch.h"
#include "memory/scratch.h"
#include "zeroskip/zeroskip.h"

namespace espalier {

// Columns cut into panels of equal width, a whole number of vectors that registers can hold.
struct ColumnPanels {
  ColumnPanels(int64_t columns, int lanes, int max_vectors) : lanes(lanes), columns(columns) {
    const int64_t vectors_all = std::max<int64_t>(1, (columns + lanes - 1) / lanes);
    count = (vectors_all + max_vectors - 1) / max_vectors;
    width = int((vectors_all + count - 1) / count * lanes);
    count = (std::max<int64_t>(1, columns) + width - 1) / width;
  }
  int columns_of(int64_t panel) const {
    return int(std::min<int64_t>(width, columns - panel * width));
  }
  int vectors_of(int64_t panel) const { return (columns_of(panel) + lanes - 1) / lanes; }
  // Floats from one row of this panel's tiles to the next.
  int pitch_of(int64_t panel) const { return vectors_of(panel) * lanes; }

  int lanes;
  int64_t columns;
  int64_t count;
  int width;  // of every panel but the last
};

// The matrix of each tap, as rows (channels or filters, those skipped) by columns.
struct TapMatrices {
  TapMatrices(const ConvShape& shape, const WeightsView& weights, bool channels_are_rows)
      : weights(weights),
        kernel_w(shape.kernel_w),
        taps(shape.taps()),
        rows(channels_are_rows ? shape.channels : shape.filters),
        columns(channels_are_rows ? shape.filters : shape.channels),
        row_stride(channels_are_rows ? weights.channel : weights.filter),
        column_stride(channels_are_rows ? weights.filter : weights.channel) {}

  int64_t blocks() const { return words_of(rows); }
  int rows_of(int64_t block) const { return int(std::min<int64_t>(64, rows - block * 64)); }

  // One tile; returns whether all of it is finite.
  bool pack(const KernelTable& table, const ColumnPanels& panels, int64_t panel, int64_t block,
            int tap, float* tile) const {
    const float* source = weights.data + (tap / kernel_w) * weights.row +
                          (tap % kernel_w) * weights.column + block * 64 * row_stride +
                          panel * panels.width * column_stride;
    const int pitch = panels.pitch_of(panel);
    table.zeroskip.copy_matrix(source, row_stride, column_stride, rows_of(block),
                               panels.columns_of(panel), pitch, tile, pitch);
    return table.all_finite(tile, int64_t(rows_of(block)) * pitch);
  }

  WeightsView weights;
  int kernel_w, taps;
  int64_t rows, columns, row_stride, column_stride;
};

struct WeightTile {
  const float* data;
  bool finite;
};

// Tiles by number, each written by `pack(number, tile)`, which says whether all of it is
// finite: packed beforehand when each serves several tasks, else on demand.
template <typename Pack>
class WeightTiles {
 public:
  WeightTiles(int64_t count, size_t floats, int64_t uses, int threads, const Pack& pack)
      : floats_(floats), pack_(pack) {
    if (uses <= 1) return;
    packed_.emplace(size_t(count) * floats);
    finite_.resize(size_t(count));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      finite_[size_t(i)] = pack_(i, packed_->data() + size_t(i) * floats_);
    }
  }

  // `own` holds a tile, for the caller alone.
  WeightTile get(int64_t i, float* own) {
    if (!packed_) return {own, pack_(i, own)};
    return {packed_->data() + size_t(i) * floats_, finite_[size_t(i)] != 0};
  }

 private:
  size_t floats_;
  const Pack& pack_;
  std::optional<Scratch> packed_;
  std::vector<char> finite_;
};

}  // namespace espalier
