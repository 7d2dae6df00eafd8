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
                         const std::vector<int64_t>& group_offsets,
                         const std::vector<int32_t>& group_rows)
    : bias_(bias, bias + csr.outputs) {
  std::vector<bool> grouped(csr.outputs, false);
  for (size_t g = 0; g + 1 < group_offsets.size(); ++g) {
    const int32_t* rows = group_rows.data() + group_offsets[g];
    const int64_t count = group_offsets[g + 1] - group_offsets[g];
    for (int64_t i = 0; i < count; ++i) grouped[rows[i]] = true;
    pack_group(csr, rows, count);
  }
  pack_own_rows(csr, grouped);
  view_ = {.inputs = csr.inputs,
           .outputs = csr.outputs,
           .bias = bias_.data(),
           .lower = lower,
           .upper = upper,
           .rows = {int64_t(row_ids_.size()), row_ids_.data(), offsets_.data(), entries_.data()},
           .block_count = int64_t(blocks_.size()),
           .blocks = blocks_.data()};
}

void PackedLayer::pack_group(const CsrView& csr, const int32_t* rows, int64_t count) {
  std::vector<int32_t> columns;
  for (int64_t i = 0; i < count; ++i) {
    columns.insert(columns.end(), csr.column_indices + csr.row_offsets[rows[i]],
                   csr.column_indices + csr.row_offsets[rows[i] + 1]);
  }
  std::sort(columns.begin(), columns.end());
  columns.erase(std::unique(columns.begin(), columns.end()), columns.end());
  group_columns_.push_back(std::move(columns));
  const std::vector<int32_t>& shared = group_columns_.back();

  for (int64_t first = 0; first < count; first += block_rows) {
    const int64_t height = std::min<int64_t>(block_rows, count - first);
    std::vector<float> weights(shared.size() * block_rows, 0.0f);
    for (int64_t r = 0; r < height; ++r) {
      size_t place = 0;
      const int32_t row = rows[first + r];
      for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
        while (shared[place] != csr.column_indices[k]) ++place;
        weights[place * block_rows + r] = csr.values[k];
      }
    }
    block_rows_.emplace_back(rows + first, rows + first + height);
    block_weights_.push_back(std::move(weights));
    blocks_.push_back({.rows = int32_t(height),
                       .columns = int32_t(shared.size()),
                       .row_ids = block_rows_.back().data(),
                       .column_ids = shared.data(),
                       .weights = block_weights_.back().data()});
  }
}

void PackedLayer::pack_own_rows(const CsrView& csr, const std::vector<bool>& grouped) {
  offsets_.push_back(0);
  for (int32_t row = 0; row < csr.outputs; ++row) {
    if (grouped[row]) continue;
    row_ids_.push_back(row);
    for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
      entries_.push_back({uint32_t(csr.column_indices[k]), csr.values[k]});
    }
    offsets_.push_back(int64_t(entries_.size()));
  }
}

int64_t PackedLayer::multiply_adds() const {
  int64_t total = int64_t(entries_.size());
  for (const RowBlock& block : blocks_) total += int64_t(block.rows) * block.columns;
  return total;
}

int64_t PackedLayer::bytes() const {
  size_t total = bias_.size() * sizeof(float) + entries_.size() * sizeof(Entry) +
                 row_ids_.size() * sizeof(int32_t) + offsets_.size() * sizeof(int64_t) +
                 blocks_.size() * sizeof(RowBlock);
  for (const auto& columns : group_columns_) total += columns.size() * sizeof(int32_t);
  for (const auto& weights : block_weights_) total += weights.size() * sizeof(float);
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
