// Consecutive packed layers over a batch of samples: Y = clamp(X W^T + bias), layer by layer.
// Each thread carries some panels [neurons][tile], one sample a lane, through all layers; lanes
// that are all 0 may be dropped on the way.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "inference/layer.h"

namespace espalier {

// Where the samples of a run come from: rows of a dense matrix, or of a CSR matrix.
struct Samples {
  int64_t count = 0;              // samples of this run
  const int64_t* rows = nullptr;  // `count`: the matrix row of each; null: row i is sample i
  int32_t width = 0;              // columns of the matrix
  const float* dense = nullptr;   // [matrix rows][width], or null for CSR:
  const void* row_offsets = nullptr;
  const void* column_indices = nullptr;
  const float* values = nullptr;
  bool wide = false;  // offsets and columns are int64 rather than int32
};

struct Segment {
  std::vector<const PackedLayer*> layers;
  const InputMajor* first = nullptr;  // when set, layer 0 runs sample by sample on CSR input
  std::vector<uint8_t> droppable;     // per layer: a sample all 0 after it stays 0 to the end
  int tile = 32;                      // samples side by side in a panel
  int panels = 8;                     // panels a thread carries through a layer before the next
  int threads = 1;
};

struct SegmentOutput {
  float* rows;         // [samples][outputs of the last layer], partly filled
  int64_t* row_of;     // [samples]: the row that holds a sample's output, -1 if dropped as 0
  uint8_t* alive;      // [samples]: whether any output is not 0
  int64_t* processed;  // [layers]: samples multiplied, added up
  int64_t* living;     // [layers]: samples not all 0 afterwards, added up
};

// Called now and then by the calling thread with (samples done, samples in all); true: stop.
using Poll = std::function<bool(int64_t, int64_t)>;

enum class RunStatus { finished, stopped, bad_sample };

// On `bad_sample` some column lies outside the matrix, or some value or output is not finite.
RunStatus run_segment(const Segment& segment, const Samples& samples, const SegmentOutput& output,
                      const Poll& poll);

}  // namespace espalier
