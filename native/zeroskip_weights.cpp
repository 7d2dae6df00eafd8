// Backward by weight: the non-zeros of one channel along the line of positions are broadcast into
// the sums of that channel's weights (SparseTrain, section 3.4, with the sparser operand chosen by
// the caller). The skipped operand gives the rows of dw, the other one the columns.
#include <omp.h>

#include <cstring>
#include <vector>

#include "positions.h"
#include "tiles.h"

namespace espalier {

namespace {

constexpr int64_t block_positions = 64;
constexpr int64_t chunk_blocks = 8;
constexpr int64_t chunk_positions = chunk_blocks * block_positions;

struct Operand {
  const float* data;
  int64_t channels;
  std::vector<Plane> planes;
};

struct Tap {
  int plane;
  int64_t shift;
};

// Everything that follows from the shape, the operands and which of them is skipped.
struct WeightPass {
  WeightPass(const ConvShape& shape, const float* x, const float* dy, Skip skip,
             const KernelTable& table)
      : shape(shape),
        table(table),
        positions(shape),
        input_is_rows(skip == Skip::input),
        pointwise(shape.is_pointwise()) {
    Operand input{x, shape.channels, {}};
    const int row_phases = std::min(shape.stride_h, shape.kernel_h);
    const int column_phases = std::min(shape.stride_w, shape.kernel_w);
    for (int a = 0; a < row_phases; ++a) {
      for (int b = 0; b < column_phases; ++b) input.planes.push_back(Plane::of_input(shape, a, b));
    }
    for (int r = 0; r < shape.kernel_h; ++r) {
      for (int s = 0; s < shape.kernel_w; ++s) {
        taps.push_back({r % shape.stride_h * column_phases + s % shape.stride_w,
                        r / shape.stride_h * positions.pitch + s / shape.stride_w});
      }
    }
    Operand gradient{dy, shape.filters, {Plane::of_gradient(shape)}};
    rows = input_is_rows ? input : gradient;
    columns = input_is_rows ? gradient : input;
  }

  int64_t row_blocks() const { return words_of(rows.channels); }
  int64_t blocks() const { return (positions.count + block_positions - 1) / block_positions; }
  // Words of transposed bits are read up to a shift and one word behind a block.
  int64_t bit_blocks() const { return blocks() + positions.max_shift / block_positions + 1; }

  ConvShape shape;
  const KernelTable& table;
  Positions positions;
  bool input_is_rows;
  bool pointwise;
  Operand rows, columns;
  std::vector<Tap> taps;
};

// Masks turned on their side: for each block of 64 channels, plane and block of 64 positions, a
// word per channel whose bits are the positions.
class PositionBits {
 public:
  PositionBits(const WeightPass& pass, const uint64_t* mask, int threads)
      : planes_(int64_t(pass.rows.planes.size())),
        blocks_(pass.bit_blocks()),
        words_(size_t(pass.row_blocks() * planes_ * blocks_) * 64 * 2) {
    const int64_t words = words_of(pass.rows.channels);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pass.row_blocks() * planes_ * blocks_; ++i) {
      const int64_t begin = i % blocks_ * block_positions;
      const Plane& plane = pass.rows.planes[size_t(i / blocks_ % planes_)];
      const int64_t row_block = i / blocks_ / planes_;
      uint64_t bits[64] = {};
      for_each_run(pass.positions, plane, begin, begin + block_positions,
                   [&](int64_t offset, int64_t pixel, int64_t step, int64_t count) {
                     for (int64_t j = 0; j < count; ++j) {
                       bits[offset + j] = mask[(pixel + j * step) * words + row_block];
                     }
                   });
      transpose_bits(bits);
      std::memcpy(data() + i * 64, bits, sizeof bits);
    }
  }

  // out[channel] = bits of the 64 positions from block * 64 + shift on.
  void read(int64_t row_block, int64_t plane, int64_t block, int64_t shift, uint64_t keep,
            uint64_t (&out)[64]) const {
    const uint64_t* from =
        data() + ((row_block * planes_ + plane) * blocks_ + block + shift / 64) * 64;
    const int bit = int(shift % 64);
    if (!bit) {
      for (int c = 0; c < 64; ++c) out[c] = from[c] & keep;
      return;
    }
    for (int c = 0; c < 64; ++c) {
      out[c] = ((from[c] >> bit) | (from[c + 64] << (64 - bit))) & keep;
    }
  }

 private:
  uint64_t* data() { return reinterpret_cast<uint64_t*>(words_.data()); }
  const uint64_t* data() const { return reinterpret_cast<const uint64_t*>(words_.data()); }

  int64_t planes_, blocks_;
  Scratch words_;
};

// Which positions hold a pixel of the columns' operand: nothing is added for the others.
class PixelBits {
 public:
  explicit PixelBits(const WeightPass& pass) : blocks_(pass.bit_blocks()) {
    words_.resize(pass.columns.planes.size() * size_t(blocks_), 0);
    for (size_t i = 0; i < words_.size(); ++i) {
      const int64_t begin = int64_t(i) % blocks_ * block_positions;
      for_each_run(pass.positions, pass.columns.planes[i / size_t(blocks_)], begin,
                   begin + block_positions, [&](int64_t offset, int64_t, int64_t, int64_t count) {
                     const uint64_t run = count == 64 ? ~uint64_t(0) : (uint64_t(1) << count) - 1;
                     words_[i] |= run << offset;
                   });
    }
  }

  // Bits of the 64 positions from block * 64 + shift on.
  uint64_t read(int64_t plane, int64_t block, int64_t shift) const {
    const uint64_t* from = words_.data() + plane * blocks_ + block + shift / 64;
    const int bit = int(shift % 64);
    return bit ? (from[0] >> bit) | (from[1] << (64 - bit)) : from[0];
  }

 private:
  int64_t blocks_;
  std::vector<uint64_t> words_;
};

// Channels first ... first + channels of all planes along positions begin ... begin + length, as
// [plane][length][pitch] with zeros where there is no pixel.
void lay_out(const Positions& positions, const Operand& operand, int64_t begin, int64_t length,
             int64_t first, int channels, int pitch, float* out) {
  for (const Plane& plane : operand.planes) {
    std::fill_n(out, length * pitch, 0.0f);
    for_each_run(positions, plane, begin, begin + length,
                 [&](int64_t offset, int64_t pixel, int64_t step, int64_t count) {
                   for (int64_t j = 0; j < count; ++j) {
                     std::memcpy(out + (offset + j) * pitch,
                                 operand.data + (pixel + j * step) * operand.channels + first,
                                 size_t(channels) * sizeof(float));
                   }
                 });
    out += length * pitch;
  }
}

// A slice of dw: some blocks of rows by one panel of columns, all taps, over some chunks.
struct Slice {
  int64_t first_block, row_blocks, panel, first_chunk, chunks;
};

class Slices {
 public:
  Slices(const WeightPass& pass, const Panels& panels)
      : panels_(panels.count), row_blocks_(pass.row_blocks()) {
    group_ = pass.pointwise ? std::min<int64_t>(row_blocks_, max_group) : 1;
    groups_ = (row_blocks_ + group_ - 1) / group_;
    chunks_ = (pass.blocks() + chunk_blocks - 1) / chunk_blocks;
    const int64_t slices = groups_ * panels_;
    splits_ =
        std::clamp<int64_t>((min_tasks + slices - 1) / slices, 1, std::max<int64_t>(1, chunks_));
  }
  int64_t count() const { return splits_ * groups_ * panels_; }
  int64_t splits() const { return splits_; }
  int64_t group() const { return group_; }
  // All splits of a slice follow each other.
  Slice operator[](int64_t i) const {
    const int64_t split = i % splits_;
    const int64_t panel = i / splits_ % panels_;
    const int64_t first_block = i / splits_ / panels_ * group_;
    const int64_t first = chunks_ * split / splits_;
    return {first_block, std::min(group_, row_blocks_ - first_block), panel, first,
            chunks_ * (split + 1) / splits_ - first};
  }

 private:
  static constexpr int64_t min_tasks = 12;
  static constexpr int64_t max_group = 8;
  int64_t panels_, row_blocks_, group_, groups_, chunks_, splits_;
};

struct LaidOut {
  float* rows;
  float* columns;
};

int rows_of(const WeightPass& pass, int64_t row_block) {
  return int(std::min<int64_t>(64, pass.rows.channels - row_block * 64));
}

// sums[row block][tap][64][pitch] of one slice.
void sum_slice(const WeightPass& pass, const Panels& panels, const PositionBits& bits,
               const PixelBits& pixels, const Slice& slice, const LaidOut& laid_out, float* sums) {
  const int pitch = panels.pitch_of(slice.panel);
  const int64_t reach = chunk_positions + pass.positions.max_shift;
  const int64_t row_length = pass.input_is_rows ? reach : chunk_positions;
  const int64_t column_length = pass.input_is_rows ? chunk_positions : reach;
  const auto sweep = pass.table.zeroskip.sweep_columns[panels.vectors_of(slice.panel) - 1];
  const int64_t taps = int64_t(pass.taps.size());
  std::fill_n(sums, slice.row_blocks * taps * 64 * pitch, 0.0f);
  for (int64_t chunk = slice.first_chunk; chunk < slice.first_chunk + slice.chunks; ++chunk) {
    const int64_t begin = chunk * chunk_positions;
    lay_out(pass.positions, pass.columns, begin, column_length, slice.panel * panels.width,
            panels.columns_of(slice.panel), pitch, laid_out.columns);
    const bool finite = pass.table.all_finite(
        laid_out.columns, int64_t(pass.columns.planes.size()) * column_length * pitch);
    if (!pass.pointwise) {
      lay_out(pass.positions, pass.rows, begin, row_length, slice.first_block * 64,
              rows_of(pass, slice.first_block), 64, laid_out.rows);
    }
    const int64_t first = chunk * chunk_blocks;
    const int64_t last = std::min(first + chunk_blocks, pass.blocks());
    for (int64_t block = first; block < last; ++block) {
      const int64_t at = (block - first) * block_positions;
      for (int64_t b = 0; b < slice.row_blocks; ++b) {
        const int64_t row_block = slice.first_block + b;
        for (int64_t t = 0; t < taps; ++t) {
          const Tap tap = pass.taps[size_t(t)];
          const int64_t row_shift = pass.input_is_rows ? tap.shift : 0;
          const int64_t column_shift = tap.shift - row_shift;
          const int64_t row_plane = pass.input_is_rows ? tap.plane : 0;
          const int64_t column_plane = tap.plane - row_plane;
          uint64_t words[64];
          bits.read(row_block, row_plane, block, row_shift,
                    pixels.read(column_plane, block, column_shift), words);
          sweep({
              .count = rows_of(pass, row_block),
              .bits = words,
              .bits_stride = 1,
              .values = pass.pointwise
                            ? pass.rows.data + (begin + at) * pass.rows.channels + row_block * 64
                            : laid_out.rows + (row_plane * row_length + at + row_shift) * 64,
              .values_stride = 1,
              .value_step = pass.pointwise ? pass.rows.channels : 64,
              .tile = laid_out.columns + (column_plane * column_length + at + column_shift) * pitch,
              .sums = sums + (b * taps + t) * 64 * pitch,
              .sums_stride = pitch,
              .may_multiply_zeros = finite,
          });
        }
      }
    }
  }
}

// The slice's part of dw[filter][tap][channel].
void write_slice(const WeightPass& pass, const Panels& panels, const Slice& slice,
                 const float* sums, float* dw) {
  const int64_t taps = int64_t(pass.taps.size());
  const int64_t channels = pass.shape.channels;
  const int pitch = panels.pitch_of(slice.panel);
  const int columns = panels.columns_of(slice.panel);
  for (int64_t b = 0; b < slice.row_blocks; ++b) {
    const int64_t first_row = (slice.first_block + b) * 64;
    const int rows = rows_of(pass, slice.first_block + b);
    const int64_t first_column = slice.panel * panels.width;
    for (int64_t t = 0; t < taps; ++t, sums += 64 * pitch) {
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

}  // namespace

void zeroskip_backward_weight(const ConvShape& shape, const float* x, const float* dy,
                              const uint64_t* mask, Skip skip, float* dw, int threads) {
  const KernelTable& table = kernels();
  const WeightPass pass(shape, x, dy, skip, table);
  const Panels panels(pass.columns.channels, table.zeroskip);
  const PositionBits bits(pass, mask, threads);
  const PixelBits pixels(pass);
  const Slices slices(pass, panels);

  const int64_t reach = chunk_positions + pass.positions.max_shift;
  const size_t row_floats = pass.pointwise ? 0 : pass.rows.planes.size() * size_t(reach) * 64;
  const size_t column_floats = pass.columns.planes.size() * size_t(reach * panels.width);
  const size_t sum_floats = size_t(slices.group()) * pass.taps.size() * 64 * size_t(panels.width);
  Scratch scratch(size_t(threads) * (row_floats + column_floats));
  const bool split = slices.splits() > 1;
  Scratch all_sums(sum_floats * size_t(split ? slices.count() : threads));

#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < slices.count(); ++i) {
    const int64_t thread = omp_get_thread_num();
    float* own = scratch.data() + thread * int64_t(row_floats + column_floats);
    float* sums = all_sums.data() + (split ? i : thread) * int64_t(sum_floats);
    sum_slice(pass, panels, bits, pixels, slices[i], {own, own + row_floats}, sums);
    if (!split) write_slice(pass, panels, slices[i], sums, dw);
  }
  if (!split) return;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < slices.count(); i += slices.splits()) {
    float* total = all_sums.data() + i * int64_t(sum_floats);
    for (int64_t other = 1; other < slices.splits(); ++other) {
      const float* sums = total + other * int64_t(sum_floats);
      for (size_t j = 0; j < sum_floats; ++j) total[j] += sums[j];
    }
    write_slice(pass, panels, slices[i], total, dw);
  }
}

}  // namespace espalier
