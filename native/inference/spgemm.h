// spgemm: sparse samples times sparse weights, the strategies of the FSSL paper (Tables IV-VI).
#pragma once

#include <cstdint>
#include <vector>

#include "inference/layer.h"
#include "memory/buffer.h"

namespace espalier {

struct SparseRows {
  std::vector<int64_t> row_offsets{0};
  std::vector<int32_t> column_indices;
  std::vector<float> values;
};

// Memory a product works in. Kept from layer to layer it is the paper's buffer; made anew for
// every layer it is the "no buffer" strategy.
struct Workspace {
  std::vector<Buffer> sums;       // one per thread, `width` floats
  std::vector<SparseRows> parts;  // one per thread
  int64_t width = 0;

  void fit(int threads, int64_t outputs);
};

// out = clamp(samples W^T + bias), stored sparse, zeros left out, columns rising.
void spgemm(const SparseRows& samples, const PackedLayer& layer, const InputMajor& weights,
            Workspace& workspace, SparseRows& out, int threads);

// Non-zeros of the product before bias and clamp: what a two-phase product counts first.
int64_t spgemm_count(const SparseRows& samples, const InputMajor& weights, int64_t outputs,
                     int threads);

// Drops the empty rows of `samples`, and with them their entries of `ids`.
void drop_empty_rows(SparseRows& samples, std::vector<int64_t>& ids);

}  // namespace espalier
