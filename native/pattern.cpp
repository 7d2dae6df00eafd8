#include "pattern.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace espalier {

namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

void require_sound(const int64_t* offsets, int64_t rows, const int32_t* columns, int64_t nonzeros,
                   int64_t width) {
  if (nonzeros > int64_t(UINT32_MAX)) refuse("it has more than 2**32 - 1 non-zeros");
  if (offsets[0] != 0 || offsets[rows] != nonzeros) {
    refuse("row_offsets run from " + std::to_string(offsets[0]) + " to " +
           std::to_string(offsets[rows]) + ", wanted 0 to " + std::to_string(nonzeros));
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (offsets[r] > offsets[r + 1] || offsets[r + 1] > nonzeros) {
      refuse("row_offsets fall at row " + std::to_string(r));
    }
    int64_t before = -1;
    for (int64_t k = offsets[r]; k < offsets[r + 1]; ++k) {
      if (columns[k] <= before || columns[k] >= width) {
        refuse("column " + std::to_string(columns[k]) + " in row " + std::to_string(r) +
               " does not rise, or lies outside");
      }
      before = columns[k];
    }
  }
}

PatternSide transpose_of(const PatternSide& side) {
  PatternSide result{side.columns, side.rows, {}, {}, {}, {}};
  result.offsets.assign(size_t(side.columns) + 1, 0);
  result.indices.resize(side.indices.size());
  result.order.resize(side.indices.size());
  for (const int32_t column : side.indices) ++result.offsets[size_t(column) + 1];
  for (size_t c = 0; c < size_t(side.columns); ++c) result.offsets[c + 1] += result.offsets[c];
  std::vector<int64_t> next(result.offsets.begin(), result.offsets.end() - 1);
  for (int64_t r = 0; r < side.rows; ++r) {
    for (int64_t k = side.offsets[size_t(r)]; k < side.offsets[size_t(r) + 1]; ++k) {
      const size_t place = size_t(next[size_t(side.indices[size_t(k)])]++);
      result.indices[place] = int32_t(r);
      result.order[place] = uint32_t(k);
    }
  }
  return result;
}

void split_columns(PatternSide& side) {
  const int64_t grains = side.grains();
  side.splits.resize(size_t((grains + 1) * side.rows));
  for (int64_t r = 0; r < side.rows; ++r) {
    const auto begin = side.indices.begin() + side.offsets[size_t(r)];
    const auto end = side.indices.begin() + side.offsets[size_t(r) + 1];
    for (int64_t g = 0; g <= grains; ++g) {
      const auto at = g == grains ? end : std::lower_bound(begin, end, g * PatternSide::grain);
      side.splits[size_t(g * side.rows + r)] = at - side.indices.begin();
    }
  }
}

}  // namespace

Pattern::Pattern(const int64_t* row_offsets, int64_t rows, const int32_t* column_indices,
                 int64_t nonzeros, int64_t columns) {
  require_sound(row_offsets, rows, column_indices, nonzeros, columns);
  by_row_ = {rows,
             columns,
             {row_offsets, row_offsets + rows + 1},
             {column_indices, column_indices + nonzeros},
             {},
             {}};
  by_column_ = transpose_of(by_row_);
  split_columns(by_row_);
  split_columns(by_column_);
}

bool Pattern::describes(const int64_t* row_offsets, int64_t rows, const int32_t* column_indices,
                        int64_t nonzeros) const {
  return rows == this->rows() && nonzeros == this->nonzeros() &&
         std::equal(by_row_.offsets.begin(), by_row_.offsets.end(), row_offsets) &&
         std::equal(by_row_.indices.begin(), by_row_.indices.end(), column_indices);
}

}  // namespace espalier
