// What an instruction set offers to skip zeros: sweeps over a tile in L1, and its masks.
//
// A tile is at most 64 rows (one word of mask bits) by `vectors * lanes` floats or fewer, aligned.
#pragma once

#include <cstdint>

namespace espalier {

// For each of `count` rows: sums += the sum over set bits i of values[i * value_step] * tile[i].
struct RowSweep {
  int64_t count;
  const uint64_t* bits;
  int64_t bits_stride;
  const float* values;
  int64_t values_stride;
  int64_t value_step;  // sweep_columns alone reads it
  const float* tile;
  float* sums;
  int64_t sums_stride;
  bool may_multiply_zeros;  // the tile is finite: a zero times it adds nothing
};

// For each of `count` rows: sums[j] += source . tile[i] for the j-th set bit i. Up to three floats
// behind the last sum are scribbled over.
struct DotSweep {
  int64_t count;
  const uint64_t* bits;
  int64_t bits_stride;
  const float* source;
  int64_t source_stride;
  int last_lanes;  // of the last vector of `source`
  const float* tile;
  float* sums;
  int64_t sums_stride;
};

struct ZeroSkipKernels {
  int lanes;
  int vectors;  // a tile is at most so many vectors wide
  // By the number of vectors of the tile's width, less one.
  void (*sweep_rows[8])(const RowSweep& sweep);
  void (*sweep_columns[8])(const RowSweep& sweep);
  void (*dot_rows[8])(const DotSweep& sweep);
  // A matrix of any strides to rows of floats, zeros added on the right up to `padded_columns`.
  void (*copy_matrix)(const float* source, int64_t row_stride, int64_t column_stride, int rows,
                      int columns, int padded_columns, float* target, int64_t target_pitch);

  void (*nonzero_mask)(const float* x, int64_t rows, int64_t channels, uint64_t* mask);
  void (*relu_forward)(const float* x, int64_t rows, int64_t channels, float* y, uint64_t* mask);
  void (*relu_backward)(const float* dy, const uint64_t* mask, int64_t rows, int64_t channels,
                        float* dx);
  void (*expand_row)(const float* packed, uint64_t word, int channels, float* out);
};

}  // namespace espalier
