// The weights W [outputs][inputs] of one layer, packed for spmm (rows that stay sparse, and dense
// blocks of rows that share columns) or sorted by input for spgemm, with bias and clamp. Both own
// their arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "isa/kernels.h"

namespace espalier {

// A CSR matrix somebody else owns; columns rise within a row and lie below `inputs`.
struct CsrView {
  int32_t outputs;
  int32_t inputs;
  const int64_t* row_offsets;     // `outputs + 1`
  const int32_t* column_indices;  // `row_offsets[outputs]`
  const float* values;            // likewise
};

// Whether rows lie one after the other and columns rise within each, inside the matrix; reads
// nothing beyond `row_offsets[outputs]` entries whatever the arrays hold.
bool is_sound(const CsrView& csr);

class PackedLayer {
 public:
  // Block b stores the rows `block_rows[block_offsets[b]]` ... `block_rows[block_offsets[b + 1] -
  // 1]` densely over the union of their columns, no row twice. All other rows keep their own
  // columns.
  PackedLayer(const CsrView& csr, const float* bias, float lower, float upper,
              const std::vector<int64_t>& block_offsets, const std::vector<int32_t>& block_rows);
  PackedLayer(const PackedLayer&) = delete;
  PackedLayer& operator=(const PackedLayer&) = delete;

  const LayerView& view() const { return view_; }
  int64_t bytes() const;
  // Multiply-adds per sample, zeros inside dense blocks included.
  int64_t multiply_adds() const;

 private:
  void pack_block(const CsrView& csr, const int32_t* rows, int64_t count);
  void pack_own_rows(const CsrView& csr, const std::vector<bool>& in_block);

  std::vector<float> bias_;
  std::vector<int32_t> row_ids_;
  std::vector<int64_t> offsets_;
  std::vector<Entry> entries_;
  std::vector<std::vector<int32_t>> strip_rows_, block_columns_;
  std::vector<std::vector<float>> strip_weights_;
  std::vector<BlockStrip> strips_;
  LayerView view_;
};

// The weights of a layer sorted by input.
class InputMajor {
 public:
  explicit InputMajor(const CsrView& csr);
  InputMajorView view() const {
    return {int64_t(offsets_.size()) - 1, one_each_, offsets_.data(), entries_.data()};
  }
  int64_t bytes() const;

 private:
  std::vector<int64_t> offsets_;
  std::vector<Entry> entries_;
  bool one_each_ = true;
};

}  // namespace espalier
