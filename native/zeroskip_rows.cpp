// Forward, and backward by input where dy is sparse: each non-zero of a source pixel is broadcast
// into the sums of the target pixels it meets (SparseTrain, sections 3.2 and 3.3).
#include <omp.h>

#include <cstring>

#include "correspondence.h"
#include "tiles.h"

namespace espalier {

namespace {

struct Pass {
  const Correspondence& geometry;
  const TapMatrices& matrices;
  const Panels& panels;
  const float* source;
  const uint64_t* mask;
  const float* bias;
  float* target;
};

void start_sums(const Pass& pass, int64_t panel, int64_t pixels, float* sums) {
  const int pitch = pass.panels.pitch_of(panel);
  if (!pass.bias) {
    std::fill_n(sums, pixels * pitch, 0.0f);
    return;
  }
  const int columns = pass.panels.columns_of(panel);
  for (int64_t i = 0; i < pixels; ++i) {
    std::memcpy(sums + i * pitch, pass.bias + panel * pass.panels.width,
                size_t(columns) * sizeof(float));
    std::fill_n(sums + i * pitch + columns, pitch - columns, 0.0f);
  }
}

void add_tile(const Pass& pass, const KernelTable& table, const Unit& unit, int64_t panel,
              int64_t block, int tap, const Tile& tile, float* sums) {
  const int64_t rows = pass.matrices.rows;
  const int64_t words = words_of(rows);
  const int64_t pitch = pass.panels.pitch_of(panel);
  for (int64_t row = unit.begin; row < unit.end; ++row) {
    const Run run =
        pass.geometry.run(row, tap / pass.matrices.kernel_w, tap % pass.matrices.kernel_w);
    if (!run.count) continue;
    const int64_t target = (row - unit.begin) * pass.geometry.width() + run.target_begin;
    table.zeroskip.sweep_rows[pass.panels.vectors_of(panel) - 1]({
        .count = run.count,
        .bits = pass.mask + run.source_begin * words + block,
        .bits_stride = run.source_step * words,
        .values = pass.source + run.source_begin * rows + block * 64,
        .values_stride = run.source_step * rows,
        .value_step = 1,
        .tile = tile.data,
        .sums = sums + target * pitch,
        .sums_stride = run.target_step * pitch,
        .may_multiply_zeros = tile.finite,
    });
  }
}

void finish_sums(const Pass& pass, const Unit& unit, int64_t panel, int64_t pixels,
                 const float* sums) {
  const int columns = pass.panels.columns_of(panel);
  const int pitch = pass.panels.pitch_of(panel);
  float* target = pass.target + unit.begin * pass.geometry.width() * pass.panels.columns +
                  panel * pass.panels.width;
  for (int64_t i = 0; i < pixels; ++i) {
    std::memcpy(target + i * pass.panels.columns, sums + i * pitch,
                size_t(columns) * sizeof(float));
  }
}

void run_pass(const Pass& pass, const KernelTable& table, int threads) {
  const Panels& panels = pass.panels;
  const Units units(pass.geometry, panels.count);
  Tiles tiles(table, pass.matrices, panels, units.count(), threads);
  const int64_t unit_pixels = pass.geometry.pixels_of(units[0].begin, units[0].end);
  const int64_t tasks = units.count() * panels.count;
  const size_t sums_floats = size_t(unit_pixels) * size_t(panels.width);
  Scratch own(size_t(threads) * (sums_floats + tiles.tile_floats()));
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < tasks; ++task) {
    float* sums = own.data() + omp_get_thread_num() * (sums_floats + tiles.tile_floats());
    const Unit unit = units[task / panels.count];
    const int64_t panel = task % panels.count;
    const int64_t pixels = pass.geometry.pixels_of(unit.begin, unit.end);
    start_sums(pass, panel, pixels, sums);
    for (int64_t block = 0; block < pass.matrices.blocks(); ++block) {
      for (int tap = 0; tap < pass.matrices.taps; ++tap) {
        const Tile tile = tiles.get(panel, block, tap, sums + sums_floats);
        add_tile(pass, table, unit, panel, block, tap, tile, sums);
      }
    }
    finish_sums(pass, unit, panel, pixels, sums);
  }
}

}  // namespace

void zeroskip_forward(const ConvShape& shape, const float* x, const uint64_t* x_mask,
                      const WeightsView& weights, const float* bias, float* y, int threads) {
  if (!shape.output_pixels()) return;
  const KernelTable& table = kernels();
  const Correspondence geometry(shape, Correspondence::Direction::forward);
  const TapMatrices matrices(shape, weights, true);
  const Panels panels(shape.filters, table.zeroskip);
  run_pass({geometry, matrices, panels, x, x_mask, bias, y}, table, threads);
}

void zeroskip_backward_input(const ConvShape& shape, const float* dy, const uint64_t* dy_mask,
                             const WeightsView& weights, float* dx, int threads) {
  if (!shape.input_pixels()) return;
  const KernelTable& table = kernels();
  const Correspondence geometry(shape, Correspondence::Direction::backward);
  const TapMatrices matrices(shape, weights, false);
  const Panels panels(shape.channels, table.zeroskip);
  run_pass({geometry, matrices, panels, dy, dy_mask, nullptr, dx}, table, threads);
}

}  // namespace espalier
