// The data kernels work on, and the table of kernels every instruction set fills in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pattern/kernels.h"
#include "zeroskip/kernels.h"

namespace espalier {

// Samples travel in panels: [neurons][tile] floats, `tile` samples side by side, so that one
// weight serves a whole vector of samples. A tile is a power of two from min_tile to max_tile.
constexpr int min_tile = 16;
constexpr int max_tile = 64;

// A block of rows that share columns is cut into strips of so many rows at most.
constexpr int strip_rows = 8;

struct Entry {
  uint32_t index;  // a column in row-major weights, an output in input-major weights
  float weight;
};

// Rows with columns of their own: row `ids[i]` owns entries `offsets[i]` to `offsets[i + 1]`.
struct RowSet {
  int64_t count;
  const int32_t* ids;      // `count`
  const int64_t* offsets;  // `count + 1`
  const Entry* entries;    // `offsets[count]`, columns rising within a row
};

// Some rows of a dense block over shared columns.
struct BlockStrip {
  int32_t rows;  // at most `strip_rows`
  int32_t columns;
  const int32_t* row_ids;     // `rows`
  const int32_t* column_ids;  // `columns`, rising
  const float* weights;       // [columns][strip_rows]
};

// One layer as the kernels see it; outputs no row names are clamp(bias).
struct LayerView {
  int32_t inputs;
  int32_t outputs;
  const float* bias;  // `outputs`
  float lower;        // outputs are clamped to lower ... upper
  float upper;
  RowSet rows;
  int64_t strip_count;
  const BlockStrip* strips;  // `strip_count`
};

// The same weights sorted by input, for sparse samples: input i feeds entries
// `offsets[i]` to `offsets[i + 1]`.
struct InputMajorView {
  int64_t inputs;
  bool one_each;           // every input feeds exactly one output
  const int64_t* offsets;  // `inputs + 1`
  const Entry* entries;
};

struct KernelTable {
  const char* name;         // "scalar", "avx2", "avx512"
  const char* description;  // for people: what the processor must have
  bool (*supported)();      // processor and operating system both

  // y = clamp(W x + bias) on panels; ORs the bits of every output into `alive` [tile], so that
  // a lane stays 0 exactly when all outputs of that sample are 0.
  void (*spmm)(const LayerView& layer, const float* x, float* y, int tile, float* alive);

  // sums[output] += weight * value over the non-zeros of one sample; false, with nothing read
  // out of bounds, when a column lies outside the inputs or a value is not finite.
  bool (*scatter_i32)(const InputMajorView& weights, const int32_t* columns, const float* values,
                      int64_t nonzeros, float* sums);
  bool (*scatter_i64)(const InputMajorView& weights, const int64_t* columns, const float* values,
                      int64_t nonzeros, float* sums);

  // One sample in place: sums = clamp(sums + bias); returns whether any output is not 0.
  bool (*finish_row)(float* sums, const float* bias, int64_t outputs, float lower, float upper);

  // Samples in rows to the first lanes of a panel and back; the other lanes are set to 0.
  // `rows` holds `count` pointers to `neurons` floats each, count <= tile.
  void (*rows_to_panel)(const float* const* rows, int count, int64_t neurons, float* panel,
                        int tile);
  void (*panel_to_rows)(const float* panel, int tile, int64_t neurons, float* const* rows,
                        int count);

  bool (*all_finite)(const float* data, int64_t count);

  // For each neuron, the lanes of `mask` (16 lanes from `source`) go to `target`, packed.
  // In place is safe when target does not lie behind source.
  void (*pack_lanes)(const float* source, uint32_t mask, float* target, int64_t neurons, int tile);

  // Ceilings of the machine: runs `rounds` times 24 independent multiply-adds of one vector and
  // returns how many multiply-adds that is; reads `count` floats and returns their sum.
  double (*multiply_adds)(int64_t rounds);
  float (*read_floats)(const float* data, int64_t count);

  ZeroSkipKernels zeroskip;
  PatternKernels pattern;
};

extern const KernelTable scalar_kernels;
#if defined(__x86_64__)
extern const KernelTable avx2_kernels;
extern const KernelTable avx512_kernels;
#endif

}  // namespace espalier
