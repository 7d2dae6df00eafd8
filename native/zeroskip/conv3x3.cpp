#include "zeroskip/conv3x3.h"

#include <omp.h>

#include <vector>

#include "zeroskip/weight_tiles.h"
#include "zeroskip/work_split.h"

namespace espalier {

namespace {

constexpr int block_channels = 32;

// Source pixel (row, column) meets the target pixels from (row - margin_h, column - margin_w) on,
// three by three.
struct Conv3x3Pass {
  Conv3x3Pass(const ConvShape& shape, const Conv3x3Operands& operands,
              const ZeroSkipKernels& kernels)
      : operands(operands),
        source_height(operands.forward ? shape.height : shape.out_height),
        source_width(operands.forward ? shape.width : shape.out_width),
        target_height(operands.forward ? shape.out_height : shape.height),
        target_width(operands.forward ? shape.out_width : shape.width),
        margin_h(operands.forward ? 2 - shape.pad_h : shape.pad_h),
        margin_w(operands.forward ? 2 - shape.pad_w : shape.pad_w),
        matrices(shape, operands.weights, operands.forward),
        panels(matrices.columns, kernels.lanes, kernels.conv3x3_vectors),
        blocks((matrices.rows + block_channels - 1) / block_channels),
        left(std::max<int64_t>(0, margin_w)),
        row_pixels(left + std::max(target_width, source_width + 2 - margin_w)) {}

  // [channel][rows of taps by rising target row][taps by falling target column][pitch]
  bool pack(const KernelTable& table, int64_t panel, int64_t block, float* tile) const {
    const int pitch = panels.pitch_of(panel);
    const int rows = int(std::min<int64_t>(block_channels, matrices.rows - block * block_channels));
    const WeightsView& weights = operands.weights;
    const float* from = weights.data + block * block_channels * matrices.row_stride +
                        panel * panels.width * matrices.column_stride;
    for (int r = 0; r < 3; ++r) {
      for (int s = 0; s < 3; ++s) {
        const int weight_row = operands.forward ? 2 - r : r;
        const int weight_column = operands.forward ? s : 2 - s;
        table.zeroskip.copy_matrix(from + weight_row * weights.row + weight_column * weights.column,
                                   matrices.row_stride, matrices.column_stride, rows,
                                   panels.columns_of(panel), pitch, tile + (r * 3 + s) * pitch,
                                   9 * pitch);
      }
    }
    return true;
  }

  const Conv3x3Operands& operands;
  int64_t source_height, source_width, target_height, target_width;
  int64_t margin_h, margin_w;
  TapMatrices matrices;
  ColumnPanels panels;
  int64_t blocks;
  // The sums of a target row start `left` pixels before it.
  int64_t left, row_pixels;
};

void start_sums(const Conv3x3Pass& pass, const WorkUnit& unit, int64_t panel, float* sums) {
  const int pitch = pass.panels.pitch_of(panel);
  const int64_t pixels = (unit.end - unit.begin) * pass.row_pixels;
  std::fill_n(sums, pixels * pitch, 0.0f);
  if (!pass.operands.bias) return;
  const float* bias = pass.operands.bias + panel * pass.panels.width;
  for (int64_t i = 0; i < pixels; ++i) {
    for (int c = 0; c < pass.panels.columns_of(panel); ++c) sums[i * pitch + c] += bias[c];
  }
}

// The source rows that a unit's target rows meet, 32 channels of them side by side.
class SourceSlice {
 public:
  // Source rows that lie behind each other and meet three target rows each, of which taps
  // `first_taps` up to `last_taps` take part.
  struct Run {
    int64_t pixels;  // of the slice, before the first one
    int64_t pixel;   // of the whole source, the first one
    int64_t rows;
    int64_t target;  // row of the unit that the first taps of the first row meet
    int first_taps, last_taps;
  };

  static int64_t max_pixels(const Conv3x3Pass& pass, int64_t unit_rows) {
    const int64_t images = unit_rows / std::max<int64_t>(1, pass.target_height) + 2;
    return (unit_rows + 2 * images) * pass.source_width;
  }
  static size_t floats(const Conv3x3Pass& pass, int64_t unit_rows) {
    return size_t(max_pixels(pass, unit_rows) + 15) / 16 * 16 * (block_channels + 1);
  }

  SourceSlice(const Conv3x3Pass& pass, const WorkUnit& unit, int64_t unit_rows, float* memory)
      : pass_(pass),
        values_(memory),
        bits_(reinterpret_cast<uint32_t*>(memory + max_pixels(pass, unit_rows) * block_channels)) {
    int64_t pixels = 0;
    for (int64_t at = unit.begin; at < unit.end;) {
      const int64_t image = at / pass.target_height;
      const int64_t image_row = image * pass.target_height;
      const int64_t next = std::min(unit.end, image_row + pass.target_height);
      const int64_t begin = at - image_row, end = next - image_row;
      const int64_t first = std::max<int64_t>(0, begin + pass.margin_h - 2);
      const int64_t last = std::min(pass.source_height, end + pass.margin_h);
      for (int64_t row = first; row < last; ++row, pixels += pass.source_width) {
        const int64_t target = row - pass.margin_h;
        const int from = int(std::max<int64_t>(0, begin - target));
        const int to = int(std::min<int64_t>(3, end - target));
        if (row > first && from == runs_.back().first_taps && to == runs_.back().last_taps) {
          ++runs_.back().rows;
        } else {
          runs_.push_back({pixels, (image * pass.source_height + row) * pass.source_width, 1,
                           image_row + target + from - unit.begin, from, to});
        }
      }
      at = next;
    }
  }

  void fill(const KernelTable& table, int64_t block) {
    const int64_t channels = pass_.matrices.rows;
    const int64_t words = words_of(channels);
    const int64_t first = block * block_channels;
    const int width = int(std::min<int64_t>(block_channels, channels - first));
    for (const Run& run : runs_) {
      const int64_t count = run.rows * pass_.source_width;
      const uint64_t* word = pass_.operands.mask + run.pixel * words + first / 64;
      uint32_t* bits = bits_ + run.pixels;
      const float* source = pass_.operands.source + run.pixel * channels + first;
      for (int64_t i = 0; i < count; ++i) {
        bits[i] = uint32_t(word[i * words] >> first % 64);
        // The next block of channels has all of this block's time to arrive.
        __builtin_prefetch(source + i * channels + block_channels, 0, 2);
        __builtin_prefetch(source + i * channels + block_channels + 16, 0, 2);
      }
      table.zeroskip.copy_matrix(source, channels, 1, int(count), width, width,
                                 values_ + run.pixels * block_channels, block_channels);
    }
  }

  void add_tile(const KernelTable& table, int64_t panel, const float* tile, float* sums) const {
    const int pitch = pass_.panels.pitch_of(panel);
    const int vectors = pass_.panels.vectors_of(panel);
    for (const Run& run : runs_) {
      table.zeroskip.sweep_conv3x3[run.last_taps - run.first_taps - 1][vectors - 1]({
          .rows = run.rows,
          .width = pass_.source_width,
          .bits = bits_ + run.pixels,
          .values = values_ + run.pixels * block_channels,
          .tile = tile + run.first_taps * 3 * pitch,
          .sums = sums + (run.target * pass_.row_pixels + pass_.left - pass_.margin_w) * pitch,
          .sums_row_stride = pass_.row_pixels * pitch,
      });
    }
  }

 private:
  const Conv3x3Pass& pass_;
  float* values_;
  uint32_t* bits_;
  std::vector<Run> runs_;
};

// A target row at a time, so that memory is written in order.
template <typename SumsOf>
void finish_sums(const Conv3x3Pass& pass, const KernelTable& table, const WorkUnit& unit,
                 int64_t begin_panel, int64_t end_panel, const SumsOf& sums) {
  const int64_t columns = pass.panels.columns;
  for (int64_t row = unit.begin; row < unit.end; ++row) {
    float* target = pass.operands.target + row * pass.target_width * columns;
    for (int64_t panel = begin_panel; panel < end_panel; ++panel) {
      const int pitch = pass.panels.pitch_of(panel);
      const int width = pass.panels.columns_of(panel);
      table.zeroskip.copy_matrix(
          sums(panel) + ((row - unit.begin) * pass.row_pixels + pass.left) * pitch, pitch, 1,
          int(pass.target_width), width, width, target + panel * pass.panels.width, columns);
    }
  }
}

}  // namespace

void zeroskip_conv3x3(const ConvShape& shape, const Conv3x3Operands& operands, int threads) {
  const KernelTable& table = kernels();
  const Conv3x3Pass pass(shape, operands, table.zeroskip);
  const PanelWorkSplit tasks(shape.images * pass.target_height, pass.row_pixels, pass.panels.count,
                             pass.panels.width, threads);
  const auto pack = [&](int64_t i, float* tile) {
    return pass.pack(table, i / pass.blocks, i % pass.blocks, tile);
  };
  const size_t tile_floats = size_t(block_channels) * 9 * size_t(pass.panels.width);
  WeightTiles tiles(pass.panels.count * pass.blocks, tile_floats, tasks.units(), threads, pack);
  const size_t panel_floats = size_t(tasks.max_rows() * pass.row_pixels * pass.panels.width);
  const size_t sum_floats = size_t(tasks.max_panels()) * panel_floats;
  const size_t slice_floats = SourceSlice::floats(pass, tasks.max_rows());
  const size_t own_floats = sum_floats + tile_floats + slice_floats;
  Scratch own(size_t(threads) * own_floats);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < tasks.count(); ++task) {
    float* memory = own.data() + size_t(omp_get_thread_num()) * own_floats;
    const WorkUnit unit = tasks.unit(task);
    const int64_t begin = tasks.begin_panel(task), end = tasks.end_panel(task);
    const auto sums = [&](int64_t panel) { return memory + (panel - begin) * panel_floats; };
    SourceSlice slice(pass, unit, tasks.max_rows(), memory + sum_floats + tile_floats);
    for (int64_t panel = begin; panel < end; ++panel) start_sums(pass, unit, panel, sums(panel));
    for (int64_t block = 0; block < pass.blocks; ++block) {
      slice.fill(table, block);
      for (int64_t panel = begin; panel < end; ++panel) {
        const WeightTile tile = tiles.get(panel * pass.blocks + block, memory + sum_floats);
        slice.add_tile(table, panel, tile.data, sums(panel));
      }
    }
    finish_sums(pass, table, unit, begin, end, sums);
  }
}

}  // namespace espalier
