// Backward by weight: the non-zeros of one channel along the line of positions are broadcast into
// the sums of that channel's weights (SparseTrain, section 3.4, with the sparser operand chosen by
// the caller). The skipped operand gives the rows of dw, the other one the columns.
#include <omp.h>

#include <vector>

#include "zeroskip/backward_weight.h"
#include "zeroskip/weight_tiles.h"

namespace espalier {

namespace {

constexpr int64_t chunk_blocks = 4;
constexpr int64_t chunk_positions = chunk_blocks * block_positions;

// Channels first ... first + channels of all planes along positions begin ... begin + length, as
// [plane][length][pitch] with zeros where there is no pixel.
void pack_positions(const ZeroSkipKernels& kernels, const LinearPositions& positions,
                    const Operand& operand, int64_t begin, int64_t length, int64_t first,
                    int channels, int pitch, float* out) {
  for (const Plane& plane : operand.planes) {
    int64_t filled = 0;
    for_each_run(positions, plane, begin, begin + length,
                 [&](int64_t offset, int64_t pixel, int64_t step, int64_t count) {
                   std::fill_n(out + filled * pitch, (offset - filled) * pitch, 0.0f);
                   kernels.copy_matrix(operand.data + pixel * operand.channels + first,
                                       step * operand.channels, 1, int(count), channels, pitch,
                                       out + offset * pitch, pitch);
                   filled = offset + count;
                 });
    std::fill_n(out + filled * pitch, (length - filled) * pitch, 0.0f);
    out += length * pitch;
  }
}

// A slice of dw: some blocks of rows by some panels of columns, all taps, over some chunks.
struct WeightSlice {
  int64_t first_block, row_blocks, first_panel, panels, first_chunk, chunks;
};

// Laying out operands costs least for slices with many blocks and panels, but their sums must
// stay in L2.
class WeightSlices {
 public:
  WeightSlices(const BackwardWeightPass& pass, const ColumnPanels& panels)
      : panels_(panels.count), row_blocks_(pass.row_blocks()) {
    const int64_t tile = 64 * panels.width * int64_t(pass.taps.size());
    int64_t side = 1;
    while (side < max_side && (side + 1) * (side + 1) * tile <= max_sums) ++side;
    max_panels_ = std::min(panels_, side);
    max_blocks_ = std::min(row_blocks_, side);
    chunks_ = (pass.blocks() + chunk_blocks - 1) / chunk_blocks;
    const int64_t slices =
        ceil_divide(row_blocks_, max_blocks_) * ceil_divide(panels_, max_panels_);
    splits_ =
        std::clamp<int64_t>((min_tasks + slices - 1) / slices, 1, std::max<int64_t>(1, chunks_));
  }
  int64_t count() const {
    return splits_ * ceil_divide(row_blocks_, max_blocks_) * ceil_divide(panels_, max_panels_);
  }
  int64_t splits() const { return splits_; }
  int64_t max_blocks() const { return max_blocks_; }
  int64_t max_panels() const { return max_panels_; }
  // All splits of a slice follow each other.
  WeightSlice operator[](int64_t i) const {
    const int64_t split = i % splits_;
    const int64_t panel = i / splits_ % ceil_divide(panels_, max_panels_) * max_panels_;
    const int64_t block = i / splits_ / ceil_divide(panels_, max_panels_) * max_blocks_;
    const int64_t first = chunks_ * split / splits_;
    return {block, std::min(max_blocks_, row_blocks_ - block),
            panel, std::min(max_panels_, panels_ - panel),
            first, chunks_ * (split + 1) / splits_ - first};
  }

 private:
  static constexpr int64_t min_tasks = 12;
  static constexpr int64_t max_sums = 36 * 64 * 64;
  static constexpr int64_t max_side = 4;

  static int64_t ceil_divide(int64_t count, int64_t most) { return (count + most - 1) / most; }

  int64_t panels_, row_blocks_, max_blocks_, max_panels_, chunks_, splits_;
};

struct SliceOperands {
  float* rows;
  float* columns;
};

int rows_of(const BackwardWeightPass& pass, int64_t row_block) {
  return int(std::min<int64_t>(64, pass.rows.channels - row_block * 64));
}

// Everything one slice works on. Operands are laid out as rows[row block][plane][position][64]
// and columns[panel][plane][position][pitch], sums as [panel][row block][tap][64][pitch].
struct SliceWork {
  const BackwardWeightPass& pass;
  const ColumnPanels& panels;
  const ChannelBits& bits;
  const PixelBits& pixels;
  WeightSlice slice;
  SliceOperands operands;
  float* sums_memory;

  int64_t taps() const { return int64_t(pass.taps.size()); }
  int64_t column_length() const { return pass.before() + chunk_positions + pass.behind(); }
  float* rows(int64_t b) const {
    return operands.rows + b * int64_t(pass.rows.planes.size()) * chunk_positions * 64;
  }
  float* columns(int64_t p) const {
    return operands.columns +
           p * int64_t(pass.columns.planes.size()) * column_length() * panels.width;
  }
  float* sums(int64_t p, int64_t b) const {
    return sums_memory +
           (p * slice.row_blocks * panels.width + b * panels.pitch_of(slice.first_panel + p)) *
               taps() * 64;
  }
};

// What a sweep adds up to where: tap t of positions `at` ... of a chunk that begins at `begin`.
ChannelSweep sweep_of(const SliceWork& work, int64_t p, int64_t b, int64_t begin, int64_t at,
                      int64_t t) {
  const BackwardWeightPass& pass = work.pass;
  const Tap& tap = pass.taps[size_t(t)];
  const int64_t row_block = work.slice.first_block + b;
  const int64_t row_plane = pass.row_plane(tap), column_plane = pass.column_plane(tap);
  const int64_t shift = pass.column_shift(tap);
  const int64_t pitch = work.panels.pitch_of(work.slice.first_panel + p);
  return {
      .channels = rows_of(pass, row_block),
      .bits = work.bits.at(row_block, row_plane, (begin + at) / block_positions) + at / 64 % 2,
      .keep = work.pixels.read(column_plane, begin + at + shift),
      .values = work.rows(b) + (row_plane * chunk_positions + at) * 64,
      .tile = work.columns(p) +
              (column_plane * work.column_length() + pass.before() + at + shift) * pitch,
      .sums = work.sums(p, b) + t * 64 * pitch,
      .sums_tap_stride = 64 * pitch,
  };
}

// All taps of one block of positions, by one block of channels and one panel.
void add_block(const SliceWork& work, int64_t p, int64_t b, int64_t begin, int64_t at,
               bool three_taps) {
  const ZeroSkipKernels& kernels = work.pass.table.zeroskip;
  const int vectors = work.panels.vectors_of(work.slice.first_panel + p);
  if (three_taps) {
    for (int64_t t = 0; t < work.taps(); t += 3) {
      // The kernel wants the tap first whose columns lie first.
      const bool falling = work.pass.input_is_rows;
      ChannelSweep sweep = sweep_of(work, p, b, begin, at, falling ? t + 2 : t);
      if (falling) sweep.sums_tap_stride = -sweep.sums_tap_stride;
      kernels.sweep_channels_3_taps[vectors - 1](sweep);
    }
    return;
  }
  for (int64_t half = at; half < at + block_positions; half += 64) {
    for (int64_t t = 0; t < work.taps(); ++t) {
      kernels.sweep_channels[vectors - 1](sweep_of(work, p, b, begin, half, t));
    }
  }
}

// Lays out one chunk; returns whether three taps may share a non-zero. They also multiply by the
// zeros between rows of pixels, which only finite values survive.
bool pack_chunk(const SliceWork& work, int64_t begin) {
  const BackwardWeightPass& pass = work.pass;
  const ZeroSkipKernels& kernels = pass.table.zeroskip;
  for (int64_t p = 0; p < work.slice.panels; ++p) {
    const int64_t panel = work.slice.first_panel + p;
    pack_positions(kernels, pass.positions, pass.columns, begin - pass.before(),
                   work.column_length(), panel * work.panels.width, work.panels.columns_of(panel),
                   work.panels.pitch_of(panel), work.columns(p));
  }
  bool finite = true;
  for (int64_t b = 0; b < work.slice.row_blocks; ++b) {
    const int64_t row_block = work.slice.first_block + b;
    pack_positions(kernels, pass.positions, pass.rows, begin, chunk_positions, row_block * 64,
                   rows_of(pass, row_block), 64, work.rows(b));
    if (pass.three_taps) {
      const int64_t floats = int64_t(pass.rows.planes.size()) * chunk_positions * 64;
      finite = finite && pass.table.all_finite(work.rows(b), floats);
    }
  }
  return pass.three_taps && finite;
}

void sum_slice(const SliceWork& work) {
  const WeightSlice& slice = work.slice;
  std::fill_n(work.sums_memory,
              slice.panels * slice.row_blocks * work.taps() * 64 * work.panels.width, 0.0f);
  for (int64_t chunk = slice.first_chunk; chunk < slice.first_chunk + slice.chunks; ++chunk) {
    const int64_t begin = chunk * chunk_positions;
    const bool three_taps = pack_chunk(work, begin);
    const int64_t end = std::min(chunk_positions, work.pass.blocks() * block_positions - begin);
    for (int64_t at = 0; at < end; at += block_positions) {
      for (int64_t p = 0; p < slice.panels; ++p) {
        for (int64_t b = 0; b < slice.row_blocks; ++b) {
          add_block(work, p, b, begin, at, three_taps);
        }
      }
    }
  }
}

// The slice's part of dw[filter][tap][channel].
void write_slice(const SliceWork& work, float* dw) {
  const BackwardWeightPass& pass = work.pass;
  const int64_t taps = work.taps();
  const int64_t channels = pass.shape.channels;
  for (int64_t p = 0; p < work.slice.panels; ++p) {
    const int64_t panel = work.slice.first_panel + p;
    const int pitch = work.panels.pitch_of(panel);
    const int columns = work.panels.columns_of(panel);
    const int64_t first_column = panel * work.panels.width;
    for (int64_t b = 0; b < work.slice.row_blocks; ++b) {
      const int64_t first_row = (work.slice.first_block + b) * 64;
      const int rows = rows_of(pass, work.slice.first_block + b);
      for (int64_t t = 0; t < taps; ++t) {
        const float* sums = work.sums(p, b) + t * 64 * pitch;
        if (pass.input_is_rows) {
          pass.table.zeroskip.copy_matrix(sums, 1, pitch, columns, rows, rows,
                                          dw + (first_column * taps + t) * channels + first_row,
                                          taps * channels);
        } else {
          pass.table.zeroskip.copy_matrix(sums, pitch, 1, rows, columns, columns,
                                          dw + (first_row * taps + t) * channels + first_column,
                                          taps * channels);
        }
      }
    }
  }
}

}  // namespace

void zeroskip_backward_weight(const ConvShape& shape, const float* x, const float* dy,
                              const uint64_t* mask, Skip skip, float* dw, int threads) {
  const KernelTable& table = kernels();
  const BackwardWeightPass pass(shape, x, dy, skip, table);
  const ZeroSkipKernels& kernels = table.zeroskip;
  const ColumnPanels panels(pass.columns.channels, kernels.lanes,
                            pass.three_taps ? kernels.three_tap_vectors : kernels.vectors);
  const ChannelBits bits(pass, mask, threads);
  const PixelBits pixels(pass);
  const WeightSlices slices(pass, panels);

  const int64_t reach = chunk_positions + pass.positions.max_shift;
  const size_t row_floats =
      size_t(slices.max_blocks() * chunk_positions * 64) * pass.rows.planes.size();
  const size_t column_floats =
      size_t(slices.max_panels() * reach * panels.width) * pass.columns.planes.size();
  const size_t sum_floats =
      size_t(slices.max_blocks() * slices.max_panels() * 64 * panels.width) * pass.taps.size();
  Scratch scratch(size_t(threads) * (row_floats + column_floats));
  const bool split = slices.splits() > 1;
  Scratch all_sums(sum_floats * size_t(split ? slices.count() : threads));
  const auto work = [&](int64_t i, float* own, float* sums) {
    return SliceWork{pass, panels, bits, pixels, slices[i], {own, own + row_floats}, sums};
  };

#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < slices.count(); ++i) {
    const int64_t thread = omp_get_thread_num();
    float* own = scratch.data() + thread * int64_t(row_floats + column_floats);
    float* sums = all_sums.data() + (split ? i : thread) * int64_t(sum_floats);
    sum_slice(work(i, own, sums));
    if (!split) write_slice(work(i, own, sums), dw);
  }
  if (!split) return;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < slices.count(); i += slices.splits()) {
    float* total = all_sums.data() + i * int64_t(sum_floats);
    for (int64_t other = 1; other < slices.splits(); ++other) {
      const float* sums = total + other * int64_t(sum_floats);
      for (size_t j = 0; j < sum_floats; ++j) total[j] += sums[j];
    }
    write_slice(work(i, scratch.data(), total), dw);
  }
}

}  // namespace espalier
