// What an instruction set offers to products with a fixed pattern of non-zeros.
//
// Dense operands are panels: [features][pitch] floats, the samples of one tile side by side, padded
// with zeros to whole vectors, so that one non-zero serves a vector of samples.
#pragma once

#include <cstdint>

namespace espalier {

// The non-zeros of the rows `begin` to `end`, or of one block of columns of them: row i owns
// entries first[i] to last[i]. Entry k stands in column indices[k]; its value and its gradient have
// the place order[k], or k itself where `order` is null. Where they are not 0, the value of the
// entry `ahead` of one is fetched early, and the samples of the entry `source_ahead` of one.
struct PatternRows {
  int64_t begin, end;
  const int64_t* first;
  const int64_t* last;
  const int32_t* indices;
  const uint32_t* order;
  int64_t ahead, source_ahead;
};

// result[i] = start[i] + the sum over the entries of row i of value * source[column].
struct PatternProduct {
  PatternRows rows;
  const float* values;
  const float* source;
  int64_t source_pitch;
  const float* start;  // one for each row; null for zeros
  bool adds;           // sums begin with what `result` holds, and not with `start`
  float* result;
  int64_t result_pitch;
  int last_lanes;  // of the last vector of `result`
};

// gradients[place] = left[i] . right[column] over the samples, for each entry of row i.
struct PatternSddmm {
  PatternRows rows;
  const float* left;
  int64_t left_pitch;
  const float* right;
  int64_t right_pitch;
  bool adds;  // to what `gradients` holds
  float* gradients;
};

// Both at once, with one load of source[column] for the two: the products as above, and the dots
// of `left` with `product.source`.
struct PatternBackward {
  PatternProduct product;
  const float* left;
  int64_t left_pitch;
  bool adds;
  float* gradients;
};

struct PatternKernels {
  int lanes;
  int vectors;  // a tile is at most so many vectors wide
  // By the number of vectors of the tile's width, less one.
  void (*product[8])(const PatternProduct& pass);
  void (*sddmm[8])(const PatternSddmm& pass);
  void (*backward[8])(const PatternBackward& pass);
  // sums[i] = (adds ? sums[i] : 0) + the lanes of panel[i], for i from begin to end.
  void (*sum_lanes[8])(const float* panel, int64_t pitch, int64_t begin, int64_t end, bool adds,
                       float* sums);
  // Samples ([sample][feature], `pitch` floats apart) to a panel of `vectors` and back, for the
  // features from begin to end; lanes behind the `count` samples are set to 0.
  void (*rows_to_tile)(const float* rows, int64_t pitch, int count, int64_t begin, int64_t end,
                       float* tile, int vectors);
  void (*tile_to_rows)(const float* tile, int vectors, int count, int64_t begin, int64_t end,
                       float* rows, int64_t pitch);
};

}  // namespace espalier
