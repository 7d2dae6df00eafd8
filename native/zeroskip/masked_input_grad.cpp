// Backward by input where the input came out of a ReLU: only the entries that ReLU let through
// are computed, each as dot products of a dense dy with the weights.
#include <omp.h>

#include "zeroskip/conv_index.h"
#include "zeroskip/weight_tiles.h"
#include "zeroskip/work_split.h"

namespace espalier {

namespace {

// The sums of one block of 64 channels lie packed: as many floats as the pixel's word has bits.
constexpr int64_t sums_pitch = 64;

struct MaskedPass {
  const ConvIndex& index;
  const TapMatrices& matrices;  // rows are channels, columns filters
  const ColumnPanels& panels;
  const float* dy;
  const uint64_t* needed;
  float* dx;
};

void add_tile(const MaskedPass& pass, const KernelTable& table, const WorkUnit& unit, int64_t block,
              int64_t panel, int tap, const float* tile, float* sums) {
  const int64_t words = words_of(pass.matrices.rows);
  const int64_t filters = pass.matrices.columns;
  const int vectors = pass.panels.vectors_of(panel);
  pass.index.for_each_run(unit.begin, unit.end, tap, [&](int64_t target, const Run& run) {
    const int64_t first = unit.begin * pass.index.width() + target;
    table.zeroskip.dot_rows[vectors - 1]({
        .count = run.count,
        .bits = pass.needed + first * words + block,
        .bits_stride = run.target_step * words,
        .source = pass.dy + run.source_begin * filters + panel * pass.panels.width,
        .source_stride = run.source_step * filters,
        .last_lanes = pass.panels.columns_of(panel) - (vectors - 1) * pass.panels.lanes,
        .tile = tile,
        .sums = sums + target * sums_pitch,
        .sums_stride = run.target_step * sums_pitch,
    });
  });
}

void finish_sums(const MaskedPass& pass, const KernelTable& table, const WorkUnit& unit,
                 int64_t block, int64_t pixels, const float* sums) {
  const int64_t channels = pass.matrices.rows;
  const int64_t first = unit.begin * pass.index.width();
  const uint64_t* word = pass.needed + first * words_of(channels) + block;
  float* dx = pass.dx + first * channels + block * 64;
  for (int64_t i = 0; i < pixels; ++i) {
    table.zeroskip.expand_row(sums + i * sums_pitch, word[i * words_of(channels)],
                              pass.matrices.rows_of(block), dx + i * channels);
  }
}

}  // namespace

void zeroskip_masked_input_grad(const ConvShape& shape, const float* dy, const uint64_t* needed,
                                const WeightsView& weights, float* dx, int threads) {
  if (!shape.input_pixels()) return;
  const KernelTable& table = kernels();
  const ConvIndex index(shape, ConvIndex::Direction::backward);
  const TapMatrices matrices(shape, weights, true);
  const ColumnPanels panels(shape.filters, table.zeroskip.lanes, table.zeroskip.vectors);
  const MaskedPass pass{index, matrices, panels, dy, needed, dx};
  const int64_t blocks = matrices.blocks();
  const WorkSplit split(index.rows(), index.width(), blocks, threads);
  const int64_t tiles_a_block = panels.count * matrices.taps;
  const auto pack = [&](int64_t i, float* tile) {
    return matrices.pack(table, panels, i / matrices.taps % panels.count, i / tiles_a_block,
                         int(i % matrices.taps), tile);
  };
  const size_t tile_floats = size_t(64) * size_t(panels.width);
  WeightTiles tiles(blocks * tiles_a_block, tile_floats, split.count(), threads, pack);
  const size_t sum_floats = size_t(split.max_rows() * index.width() * sums_pitch);
  Scratch own(size_t(threads) * (sum_floats + tile_floats));
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < split.count() * blocks; ++task) {
    float* sums = own.data() + size_t(omp_get_thread_num()) * (sum_floats + tile_floats);
    const WorkUnit unit = split[task / blocks];
    const int64_t block = task % blocks;
    const int64_t pixels = index.pixels_of(unit.begin, unit.end);
    std::fill_n(sums, pixels * sums_pitch, 0.0f);
    for (int64_t panel = 0; panel < panels.count; ++panel) {
      for (int tap = 0; tap < matrices.taps; ++tap) {
        const int64_t i = block * tiles_a_block + panel * matrices.taps + tap;
        const WeightTile tile = tiles.get(i, sums + sum_floats);
        add_tile(pass, table, unit, block, panel, tap, tile.data, sums);
      }
    }
    finish_sums(pass, table, unit, block, pixels, sums);
  }
}

}  // namespace espalier
