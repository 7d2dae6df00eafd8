// What an instruction set offers to skip zeros: sweeps over a tile in L1, and its masks.
//
// A tile has a row for each bit of a word (or of two words) and is a few vectors wide.
#pragma once

#include <cstdint>

namespace espalier {

// For each of `count` rows: sums += values[i] * tile[i], added up over the set bits i. Sums begin
// with `start` for every row if that is not null, and end up in `results` if that is not null.
struct RowSweep {
  int64_t count;
  const uint64_t* bits;
  int64_t bits_stride;
  const float* values;
  int64_t values_stride;
  const float* tile;
  float* sums;
  int64_t sums_stride;
  const float* start;
  float* results;
  int64_t results_stride;
  bool may_multiply_zeros;  // the tile is finite: a zero times it adds nothing
};

// Source pixel i of row n, 32 channels of it, adds values[n][i][c] * tile[c][r][s] to
// sums[n + r][i + 2 - s] for each set bit c and s = 0, 1, 2, for some rows r of taps.
struct Conv3x3Sweep {
  int64_t rows, width;  // of source pixels
  const uint32_t* bits;
  const float* values;
  const float* tile;  // at the first row of taps that takes part
  float* sums;        // rows of width + 2 pixels, each as wide as the tile
  int64_t sums_row_stride;
};

// For each channel c and tap t: sums[t][c] += values[i][c] * tile[i + t], added up over the set
// bits i of bits[c] & keep, which belong to 128 positions for three taps and to 64 for one.
struct ChannelSweep {
  int64_t channels;
  const uint64_t* bits;  // [channels][2]
  uint64_t keep;         // of one tap
  const float* values;   // [positions][64]
  const float* tile;
  float* sums;  // [channels], each as wide as the tile
  int64_t sums_tap_stride;
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
  int vectors;            // a tile is at most so many vectors wide
  int conv3x3_vectors;    // ... and so many where sweep_conv3x3 reads it
  int three_tap_vectors;  // ... and so many where sweep_channels_3_taps reads it
  // By the number of vectors of the tile's width, less one.
  void (*sweep_rows[8])(const RowSweep& sweep);
  void (*dot_rows[8])(const DotSweep& sweep);
  void (*sweep_channels[8])(const ChannelSweep& sweep);
  void (*sweep_channels_3_taps[4])(const ChannelSweep& sweep);
  // By the number of rows of taps and the number of vectors, less one each.
  void (*sweep_conv3x3[3][2])(const Conv3x3Sweep& sweep);
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
