// Equal rows of a CSR matrix or of dense samples [samples][width], found exactly, bit for bit; and
// a layer with its columns folded into fewer: what the lossless simplification needs.
#pragma once

#include <cstdint>
#include <vector>

#include "inference/layer.h"

namespace espalier {

// first[r] = the first row with the same columns as row r and, when `bias` is given, the same
// values and bias bit for bit.
void first_equal_rows(const CsrView& csr, const float* bias, int32_t* first, int threads);

// The same for the rows `index` of a dense matrix [.][width], bit for bit.
void first_equal_samples(const float* matrix, const int64_t* index, int64_t count, int64_t width,
                         int64_t* first, int threads);

// kind[i] = 1 if row index[i] of a dense matrix is all 0, 2 if it is all `constant`, else 0.
void classify_samples(const float* matrix, const int64_t* index, int64_t count, int64_t width,
                      float constant, uint8_t* kind, int threads);

struct FoldedCsr {
  std::vector<int64_t> row_offsets;
  std::vector<int32_t> column_indices;
  std::vector<float> values;
  std::vector<float> bias;
};

// Rows `kept` of a layer whose input j is now input classes[j] of a smaller layer; weights that
// meet add up. An input of class -1 has the value constants[j] always: it moves into the bias.
FoldedCsr fold_columns(const CsrView& csr, const float* bias, const int32_t* kept, int32_t count,
                       const int32_t* classes, const float* constants);

}  // namespace espalier
