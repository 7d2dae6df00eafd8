// Products of a batch with sparse weights W [rows][columns], whose pattern of non-zeros is fixed
// while their values change: spmm, spmm_transposed and sddmm, the passes of training. The pattern
// lies in CSR and in its transpose, values in CSR order, batches [batch][features] in C or F order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace espalier {

// One way to go through a pattern: row by row, or column by column as rows of the transpose; and
// within that block by block of columns, so that what a block names of the other operand lies in
// L2. A row with few entries in such a block is one block instead.
struct PatternSide {
  // Kernels look so many entries ahead in `indices` and `order`, which are that much longer.
  static constexpr int64_t ahead = 32;

  int64_t rows, columns;
  int64_t block_columns;
  bool leaves_cache;             // a block names more of the other operand than L2 holds
  std::vector<int64_t> offsets;  // `rows + 1`: how many entries the rows before have
  std::vector<int32_t> indices;  // columns
  std::vector<uint32_t> order;   // the place of each entry in CSR order; empty where it is its own
  std::vector<int64_t> starts;   // where each row's entries in a block start: [blocks][rows]
  int64_t to_end;                // from there to where they end

  int64_t blocks() const { return std::max<int64_t>(1, (columns - 1) / block_columns + 1); }
  const int64_t* first(int64_t block) const { return starts.data() + block * rows; }
  const int64_t* last(int64_t block) const { return first(block) + to_end; }
};

// Which entries stand where: CSR and its transpose.
class Pattern {
 public:
  // Throws std::invalid_argument unless offsets rise from 0 to `nonzeros` and columns rise inside
  // the matrix within each row.
  Pattern(const int64_t* row_offsets, int64_t rows, const int32_t* column_indices, int64_t nonzeros,
          int64_t columns);

  int64_t rows() const { return by_row_.rows; }
  int64_t columns() const { return by_row_.columns; }
  int64_t nonzeros() const { return by_row_.offsets.back(); }
  const PatternSide& by_row() const { return by_row_; }
  // Whether it was made of these arrays.
  bool describes(const int64_t* row_offsets, int64_t rows, const int32_t* column_indices,
                 int64_t nonzeros) const;
  const PatternSide& by_column() const { return by_column_; }

 private:
  PatternSide by_row_, by_column_;
};

// A batch [batch][features] in memory: one of the two strides is 1.
template <typename T>
struct BatchView {
  T* data;
  int64_t batch, features;
  bool by_feature;  // samples lie side by side, and `pitch` leads to the next feature
  int64_t pitch;
};

// y = x W^T + bias; bias may be null.
void pattern_spmm(const Pattern& pattern, const float* values, const BatchView<const float>& x,
                  const float* bias, const BatchView<float>& y, int threads);

// What a backward pass computes; null means not wanted.
struct PatternGradients {
  const BatchView<float>* dx;  // dy W
  float* values;               // dy^T x on the pattern alone
  float* bias;                 // the sum of dy over the samples
};

// `values` may be null where dx is not wanted, `x` where the gradient by the values is not.
void pattern_backward(const Pattern& pattern, const float* values, const BatchView<const float>* x,
                      const BatchView<const float>& dy, const PatternGradients& wanted,
                      int threads);

}  // namespace espalier
