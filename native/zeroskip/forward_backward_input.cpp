// Forward, and backward by input where dy is sparse: each non-zero of a source pixel is broadcast
// into the sums of the target pixels it meets (SparseTrain, sections 3.2 and 3.3).
#include <omp.h>

#include "zeroskip/conv3x3.h"
#include "zeroskip/conv_index.h"
#include "zeroskip/weight_tiles.h"
#include "zeroskip/work_split.h"

namespace espalier {

namespace {

struct TapPass {
  const ConvIndex& index;
  const TapMatrices& matrices;
  const ColumnPanels& panels;
  const float* source;
  const uint64_t* mask;
  const float* bias;
  float* target;

  int64_t pixels_of(const WorkUnit& unit) const { return index.pixels_of(unit.begin, unit.end); }
  float* results(const WorkUnit& unit, int64_t panel) const {
    return target + unit.begin * index.width() * panels.columns + panel * panels.width;
  }
  // One tap that meets all pixels: sums need no place of their own before the first block of
  // channels or behind the last one.
  bool is_direct(int64_t panel) const {
    return index.is_pointwise() && panels.columns_of(panel) == panels.pitch_of(panel);
  }
};

// What every sum of a panel begins with. Adding to 0 makes -0.0 a 0.0, so that skipping a zero and
// adding it give the same bits.
void write_start(const TapPass& pass, int64_t panel, float* start) {
  const float* bias = pass.bias ? pass.bias + panel * pass.panels.width : nullptr;
  for (int c = 0; c < pass.panels.pitch_of(panel); ++c) {
    start[c] = bias && c < pass.panels.columns_of(panel) ? 0.0f + bias[c] : 0.0f;
  }
}

// Pixels lie behind each other in a pointwise layer: one sweep does for all of a unit.
void sweep_unit(const TapPass& pass, const KernelTable& table, const WorkUnit& unit, int64_t panel,
                int64_t block, const WeightTile& tile, const float* start, float* sums) {
  const int64_t rows = pass.matrices.rows;
  const int64_t words = words_of(rows);
  const int64_t first = unit.begin * pass.index.width();
  const bool begins = block == 0, ends = block + 1 == pass.matrices.blocks();
  const int64_t pitch = pass.panels.pitch_of(panel);
  table.zeroskip.sweep_rows[pass.panels.vectors_of(panel) - 1]({
      .count = pass.pixels_of(unit),
      .bits = pass.mask + first * words + block,
      .bits_stride = words,
      .values = pass.source + first * rows + block * 64,
      .values_stride = rows,
      .tile = tile.data,
      .sums = sums,
      .sums_stride = pitch,
      .start = begins ? start : nullptr,
      .results = ends ? pass.results(unit, panel) : nullptr,
      .results_stride = pass.panels.columns,
      .may_multiply_zeros = tile.finite,
  });
}

void sweep_tap(const TapPass& pass, const KernelTable& table, const WorkUnit& unit, int64_t panel,
               int64_t block, int tap, const WeightTile& tile, float* sums) {
  const int64_t rows = pass.matrices.rows;
  const int64_t words = words_of(rows);
  const int64_t pitch = pass.panels.pitch_of(panel);
  pass.index.for_each_run(unit.begin, unit.end, tap, [&](int64_t target, const Run& run) {
    table.zeroskip.sweep_rows[pass.panels.vectors_of(panel) - 1]({
        .count = run.count,
        .bits = pass.mask + run.source_begin * words + block,
        .bits_stride = run.source_step * words,
        .values = pass.source + run.source_begin * rows + block * 64,
        .values_stride = run.source_step * rows,
        .tile = tile.data,
        .sums = sums + target * pitch,
        .sums_stride = run.target_step * pitch,
        .start = nullptr,
        .results = nullptr,
        .results_stride = 0,
        .may_multiply_zeros = tile.finite,
    });
  });
}

void run_task(const TapPass& pass, const KernelTable& table, const WorkUnit& unit, int64_t panel,
              const auto& tile_of, float* start, float* sums) {
  const TapMatrices& matrices = pass.matrices;
  const int pitch = pass.panels.pitch_of(panel);
  const int64_t pixels = pass.pixels_of(unit);
  write_start(pass, panel, start);
  if (pass.is_direct(panel)) {
    for (int64_t block = 0; block < matrices.blocks(); ++block) {
      sweep_unit(pass, table, unit, panel, block, tile_of(block, 0), start, sums);
    }
    return;
  }
  for (int64_t i = 0; i < pixels; ++i) std::copy_n(start, pitch, sums + i * pitch);
  for (int64_t block = 0; block < matrices.blocks(); ++block) {
    for (int tap = 0; tap < matrices.taps; ++tap) {
      sweep_tap(pass, table, unit, panel, block, tap, tile_of(block, tap), sums);
    }
  }
  const int columns = pass.panels.columns_of(panel);
  table.zeroskip.copy_matrix(sums, pitch, 1, int(pixels), columns, columns,
                             pass.results(unit, panel), pass.panels.columns);
}

void run_pass(const TapPass& pass, const KernelTable& table, int threads) {
  const ColumnPanels& panels = pass.panels;
  const TapMatrices& matrices = pass.matrices;
  const ConvIndex& index = pass.index;
  const WorkSplit split(index.rows(), index.width(), panels.count, threads);
  const int64_t tiles_a_panel = matrices.blocks() * matrices.taps;
  const auto pack = [&](int64_t i, float* tile) {
    return matrices.pack(table, panels, i / tiles_a_panel, i / matrices.taps % matrices.blocks(),
                         int(i % matrices.taps), tile);
  };
  const size_t tile_floats = size_t(64) * size_t(panels.width);
  WeightTiles tiles(panels.count * tiles_a_panel, tile_floats, split.count(), threads, pack);
  const size_t start_floats = size_t(panels.width + 15) / 16 * 16;
  const size_t sum_floats = size_t(split.max_rows() * index.width() * panels.width);
  const size_t own_floats = (tile_floats + start_floats + sum_floats + 15) / 16 * 16;
  Scratch own(size_t(threads) * own_floats);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < split.count() * panels.count; ++task) {
    float* tile = own.data() + size_t(omp_get_thread_num()) * own_floats;
    float* start = tile + tile_floats;
    const int64_t panel = task % panels.count;
    const auto tile_of = [&](int64_t block, int tap) {
      return tiles.get(panel * tiles_a_panel + block * matrices.taps + tap, tile);
    };
    run_task(pass, table, split[task / panels.count], panel, tile_of, start, start + start_floats);
  }
}

}  // namespace

void zeroskip_forward(const ConvShape& shape, const float* x, const uint64_t* x_mask,
                      const WeightsView& weights, const float* bias, float* y, int threads) {
  if (!shape.output_pixels()) return;
  if (is_conv3x3(shape)) {
    return zeroskip_conv3x3(shape, {true, x, x_mask, weights, bias, y}, threads);
  }
  const KernelTable& table = kernels();
  const ConvIndex index(shape, ConvIndex::Direction::forward);
  const TapMatrices matrices(shape, weights, true);
  const ColumnPanels panels(shape.filters, table.zeroskip.lanes, table.zeroskip.vectors);
  run_pass({index, matrices, panels, x, x_mask, bias, y}, table, threads);
}

void zeroskip_backward_input(const ConvShape& shape, const float* dy, const uint64_t* dy_mask,
                             const WeightsView& weights, float* dx, int threads) {
  if (!shape.input_pixels()) return;
  if (is_conv3x3(shape)) {
    return zeroskip_conv3x3(shape, {false, dy, dy_mask, weights, nullptr, dx}, threads);
  }
  const KernelTable& table = kernels();
  const ConvIndex index(shape, ConvIndex::Direction::backward);
  const TapMatrices matrices(shape, weights, false);
  const ColumnPanels panels(shape.channels, table.zeroskip.lanes, table.zeroskip.vectors);
  run_pass({index, matrices, panels, dy, dy_mask, nullptr, dx}, table, threads);
}

}  // namespace espalier
