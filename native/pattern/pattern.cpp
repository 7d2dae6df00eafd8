#include "pattern/pattern.h"

#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "isa/dispatch.h"

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

int64_t second_level_cache() {
  constexpr int64_t smallest = 256 << 10, largest = 4 << 20;
  int64_t bytes = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
  bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
  return bytes > 0 ? std::clamp(bytes, smallest, largest) : int64_t(512 << 10);
}

// Each block reads and writes a row's sums once more, which fewer entries do not repay.
constexpr int64_t entries_worth_a_block = 16;

// Columns whose samples fill half of L2, in the widest tile.
int64_t columns_in_cache() {
  const PatternKernels& widest = kernels().pattern;
  const int64_t samples = int64_t(widest.lanes) * widest.vectors;
  return second_level_cache() / 2 / (samples * int64_t(sizeof(float)));
}

// Where blocks do not lie one behind the other in memory, wider ones gain nothing: then it is one.
PatternSide empty_side(int64_t rows, int64_t columns, int64_t nonzeros, bool grows) {
  PatternSide side{};
  side.rows = rows;
  side.columns = columns;
  const int64_t in_cache = columns_in_cache();
  side.block_columns = in_cache;
  const int64_t wanted = rows * entries_worth_a_block;
  if (nonzeros < wanted * side.blocks()) {
    const int64_t blocks =
        grows ? std::max<int64_t>(1, nonzeros / std::max<int64_t>(1, wanted)) : 1;
    side.block_columns = std::max(in_cache, (columns + blocks - 1) / blocks);
  }
  side.leaves_cache = side.block_columns > in_cache;
  return side;
}

// Entries stay in CSR order, and a row's blocks follow each other.
PatternSide side_by_row(const int64_t* offsets, int64_t rows, const int32_t* columns,
                        int64_t nonzeros, int64_t width) {
  PatternSide side = empty_side(rows, width, nonzeros, false);
  side.offsets.assign(offsets, offsets + rows + 1);
  side.indices.reserve(size_t(nonzeros + PatternSide::ahead));
  side.indices.assign(columns, columns + nonzeros);
  side.indices.resize(size_t(nonzeros + PatternSide::ahead));
  side.to_end = rows;
  side.starts.resize(size_t((side.blocks() + 1) * rows));
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* end = columns + offsets[r + 1];
    const int32_t* at = columns + offsets[r];
    for (int64_t b = 0; b < side.blocks(); ++b) {
      at = std::lower_bound(at, end, b * side.block_columns);
      side.starts[size_t(b * rows + r)] = at - columns;
    }
    side.starts[size_t(side.blocks() * rows + r)] = offsets[r + 1];
  }
  return side;
}

// Entries lie block by block, and column by column within a block, in the order they are read.
PatternSide side_by_column(const PatternSide& side) {
  PatternSide result = empty_side(side.columns, side.rows, side.offsets.back(), true);
  result.to_end = 1;
  const auto start_of = [&](int64_t row, int32_t column) -> int64_t& {
    return result.starts[size_t(row / result.block_columns * result.rows + column)];
  };
  const auto for_each_entry = [&](const auto& run) {
    for (int64_t r = 0; r < side.rows; ++r) {
      for (int64_t k = side.offsets[size_t(r)]; k < side.offsets[size_t(r) + 1]; ++k) {
        run(r, side.indices[size_t(k)], k);
      }
    }
  };
  result.offsets.assign(size_t(result.rows) + 1, 0);
  result.starts.assign(size_t(result.blocks() * result.rows) + 1, 0);
  for_each_entry([&](int64_t row, int32_t column, int64_t) {
    ++result.offsets[size_t(column) + 1];
    ++start_of(row, column);
  });
  std::partial_sum(result.offsets.begin(), result.offsets.end(), result.offsets.begin());
  std::exclusive_scan(result.starts.begin(), result.starts.end(), result.starts.begin(),
                      int64_t(0));

  result.indices.resize(side.indices.size());
  result.order.resize(side.indices.size());
  std::vector<int64_t> starts = result.starts;
  for_each_entry([&](int64_t row, int32_t column, int64_t k) {
    const size_t place = size_t(start_of(row, column)++);
    result.indices[place] = int32_t(row);
    result.order[place] = uint32_t(k);
  });
  result.starts = std::move(starts);
  return result;
}

}  // namespace

Pattern::Pattern(const int64_t* row_offsets, int64_t rows, const int32_t* column_indices,
                 int64_t nonzeros, int64_t columns) {
  require_sound(row_offsets, rows, column_indices, nonzeros, columns);
  by_row_ = side_by_row(row_offsets, rows, column_indices, nonzeros, columns);
  by_column_ = side_by_column(by_row_);
}

bool Pattern::describes(const int64_t* row_offsets, int64_t rows, const int32_t* column_indices,
                        int64_t nonzeros) const {
  return rows == this->rows() && nonzeros == this->nonzeros() &&
         std::equal(by_row_.offsets.begin(), by_row_.offsets.end(), row_offsets) &&
         std::equal(column_indices, column_indices + nonzeros, by_row_.indices.begin());
}

}  // namespace espalier
