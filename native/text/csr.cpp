#include <algorithm>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "text/text.h"

namespace espalier {

CsrMatrix EntryParser::take(int64_t rows) {
  if (std::exchange(taken_, true)) throw std::logic_error("the matrix was taken before");
  CsrMatrix matrix;
  matrix.rows = rows;
  matrix.nonzeros = entries_;
  matrix.row_offsets.reset(
      static_cast<int64_t*>(std::calloc(static_cast<size_t>(rows) + 1, sizeof(int64_t))));
  if (!matrix.row_offsets) throw std::bad_alloc();
  runs_.push_back({0, entries_});
  int64_t* counts = matrix.row_offsets.get() + 1;
  for (size_t run = 0; run + 1 < runs_.size(); ++run) {
    counts[runs_[run].row] += runs_[run + 1].start - runs_[run].start;
  }
  for (int64_t row = 1; row < rows; ++row) counts[row] += counts[row - 1];
  if (rows_rise_) {
    matrix.column_indices = columns_.release(static_cast<size_t>(entries_));
    matrix.values = values_.release(static_cast<size_t>(entries_));
  } else {
    sort_rows(matrix);
  }
  if (!rows_rise_ || !columns_rise_) sort_columns(matrix);
  runs_ = {};
  return matrix;
}

// Moves every run behind the runs before it of the same row.
void EntryParser::sort_rows(CsrMatrix& matrix) {
  GrowingArray<int32_t> columns;
  GrowingArray<float> values;
  columns.reserve(static_cast<size_t>(entries_));
  values.reserve(static_cast<size_t>(entries_));
  std::vector<int64_t> next(matrix.row_offsets.get(), matrix.row_offsets.get() + matrix.rows);
  for (size_t run = 0; run + 1 < runs_.size(); ++run) {
    const size_t from = static_cast<size_t>(runs_[run].start);
    const size_t size = static_cast<size_t>(runs_[run + 1].start) - from;
    int64_t& to = next[static_cast<size_t>(runs_[run].row)];
    std::copy_n(columns_.data_at(from), size, columns.data_at(static_cast<size_t>(to)));
    std::copy_n(values_.data_at(from), size, values.data_at(static_cast<size_t>(to)));
    to += static_cast<int64_t>(size);
  }
  matrix.column_indices = columns.release(static_cast<size_t>(entries_));
  matrix.values = values.release(static_cast<size_t>(entries_));
}

void EntryParser::sort_columns(CsrMatrix& matrix) const {
  std::vector<std::pair<int32_t, float>> entries;
  for (int64_t row = 0; row < matrix.rows; ++row) {
    int32_t* columns = matrix.column_indices.get() + matrix.row_offsets[row];
    float* values = matrix.values.get() + matrix.row_offsets[row];
    const int64_t count = matrix.row_offsets[row + 1] - matrix.row_offsets[row];
    if (!std::is_sorted(columns, columns + count)) {
      entries.clear();
      for (int64_t i = 0; i < count; ++i) entries.emplace_back(columns[i], values[i]);
      std::sort(entries.begin(), entries.end(),
                [](const auto& a, const auto& b) { return a.first < b.first; });
      for (int64_t i = 0; i < count; ++i) {
        std::tie(columns[i], values[i]) = entries[static_cast<size_t>(i)];
      }
    }
    const int32_t* twice = std::adjacent_find(columns, columns + count);
    if (twice != columns + count) fail_duplicate(row + 1, *twice + 1, false);
  }
}

}  // namespace espalier
