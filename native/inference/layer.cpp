#include "inference/layer.h"

#include <algorithm>

namespace espalier {

bool is_sound(const CsrView& csr) {
  const int64_t nonzeros = csr.row_offsets[csr.outputs];
  if (csr.row_offsets[0] != 0) return false;
  for (int32_t row = 0; row < csr.outputs; ++row) {
    const int64_t begin = csr.row_offsets[row], end = csr.row_offsets[row + 1];
    if (end < begin || end > nonzeros) return false;
    if (begin == end) continue;
    bool rises = true;
    for (int64_t k = begin + 1; k < end; ++k) {
      rises &= csr.column_indices[k - 1] < csr.column_indices[k];
    }
    if (!rises || csr.column_indices[begin] < 0 || csr.column_indices[end - 1] >= csr.inputs) {
      return false;
    }
  }
  return true;
}

PackedLayer::PackedLayer(const CsrView& csr, const float* bias, float lower, float upper,
                         const std::vector<int64_t>& block_offsets,
                         const std::vector<int32_t>& block_rows)
    : bias_(bias, bias + csr.outputs) {
  std::vector<bool> in_block(csr.outputs, false);
  for (size_t b = 0; b + 1 < block_offsets.size(); ++b) {
    const int32_t* rows = block_rows.data() + block_offsets[b];
    const int64_t count = block_offsets[b + 1] - block_offsets[b];
    for (int64_t i = 0; i < count; ++i) in_block[rows[i]] = true;
    pack_block(csr, rows, count);
  }
  pack_own_rows(csr, in_block);
  view_ = {.inputs = csr.inputs,
           .outputs = csr.outputs,
           .bias = bias_.data(),
           .lower = lower,
           .upper = upper,
           .rows = {int64_t(row_ids_.size()), row_ids_.data(), offsets_.data(), entries_.data()},
           .strip_count = int64_t(strips_.size()),
           .strips = strips_.data()};
}

void PackedLayer::pack_block(const CsrView& csr, const int32_t* rows, int64_t count) {
  std::vector<int32_t> columns;
  for (int64_t i = 0; i < count; ++i) {
    columns.insert(columns.end(), csr.column_indices + csr.row_offsets[rows[i]],
                   csr.column_indices + csr.row_offsets[rows[i] + 1]);
  }
  std::sort(columns.begin(), columns.end());
  columns.erase(std::unique(columns.begin(), columns.end()), columns.end());
  block_columns_.push_back(std::move(columns));
  const std::vector<int32_t>& shared = block_columns_.back();

  for (int64_t first = 0; first < count; first += strip_rows) {
    const int64_t height = std::min<int64_t>(strip_rows, count - first);
    std::vector<float> weights(shared.size() * strip_rows, 0.0f);
    for (int64_t r = 0; r < height; ++r) {
      size_t place = 0;
      const int32_t row = rows[first + r];
      for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
        while (shared[place] != csr.column_indices[k]) ++place;
        weights[place * strip_rows + r] = csr.values[k];
      }
    }
    strip_rows_.emplace_back(rows + first, rows + first + height);
    strip_weights_.push_back(std::move(weights));
    strips_.push_back({.rows = int32_t(height),
                       .columns = int32_t(shared.size()),
                       .row_ids = strip_rows_.back().data(),
                       .column_ids = shared.data(),
                       .weights = strip_weights_.back().data()});
  }
}

void PackedLayer::pack_own_rows(const CsrView& csr, const std::vector<bool>& in_block) {
  offsets_.push_back(0);
  for (int32_t row = 0; row < csr.outputs; ++row) {
    if (in_block[row]) continue;
    row_ids_.push_back(row);
    for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
      entries_.push_back({uint32_t(csr.column_indices[k]), csr.values[k]});
    }
    offsets_.push_back(int64_t(entries_.size()));
  }
}

int64_t PackedLayer::multiply_adds() const {
  int64_t total = int64_t(entries_.size());
  for (const BlockStrip& strip : strips_) total += int64_t(strip.rows) * strip.columns;
  return total;
}

int64_t PackedLayer::bytes() const {
  size_t total = bias_.size() * sizeof(float) + entries_.size() * sizeof(Entry) +
                 row_ids_.size() * sizeof(int32_t) + offsets_.size() * sizeof(int64_t) +
                 strips_.size() * sizeof(BlockStrip);
  for (const auto& columns : block_columns_) total += columns.size() * sizeof(int32_t);
  for (const auto& weights : strip_weights_) total += weights.size() * sizeof(float);
  return int64_t(total);
}

InputMajor::InputMajor(const CsrView& csr) : offsets_(size_t(csr.inputs) + 1, 0) {
  const int64_t nonzeros = csr.row_offsets[csr.outputs];
  for (int64_t k = 0; k < nonzeros; ++k) ++offsets_[csr.column_indices[k] + 1];
  for (size_t i = 1; i < offsets_.size(); ++i) {
    one_each_ &= offsets_[i] == 1;
    offsets_[i] += offsets_[i - 1];
  }
  entries_.resize(size_t(nonzeros));
  std::vector<int64_t> next(offsets_.begin(), offsets_.end() - 1);
  for (int32_t row = 0; row < csr.outputs; ++row) {
    for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
      entries_[next[csr.column_indices[k]]++] = {uint32_t(row), csr.values[k]};
    }
  }
}

int64_t InputMajor::bytes() const {
  return int64_t(offsets_.size() * sizeof(int64_t) + entries_.size() * sizeof(Entry));
}

}  // namespace espalier
