// Backward by weight before the first multiply-add: which operand is skipped, how taps shift
// positions, and where both operands have something.
#pragma once

#include <vector>

#include "isa/dispatch.h"
#include "memory/scratch.h"
#include "zeroskip/linear_positions.h"

namespace espalier {

constexpr int64_t block_positions = 128;

struct Operand {
  const float* data;
  int64_t channels;
  std::vector<Plane> planes;
};

// Which plane of the input a tap reads, and by how many positions it is shifted.
struct Tap {
  int plane;
  int64_t shift;
};

// Everything that follows from the shape, the operands and which of them is skipped.
struct BackwardWeightPass {
  BackwardWeightPass(const ConvShape& shape, const float* x, const float* dy, Skip skip,
                     const KernelTable& table)
      : shape(shape),
        table(table),
        positions(shape),
        input_is_rows(skip == Skip::input),
        three_taps(shape.kernel_w == 3 && shape.stride_w == 1) {
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
  // A tap pairs position p of a row plane with position p + shift of a column plane.
  int64_t row_plane(const Tap& tap) const { return input_is_rows ? tap.plane : 0; }
  int64_t column_plane(const Tap& tap) const { return input_is_rows ? 0 : tap.plane; }
  int64_t column_shift(const Tap& tap) const { return input_is_rows ? -tap.shift : tap.shift; }
  // How far shifts reach before and behind a run of positions.
  int64_t before() const { return input_is_rows ? positions.max_shift : 0; }
  int64_t behind() const { return input_is_rows ? 0 : positions.max_shift; }

  ConvShape shape;
  const KernelTable& table;
  LinearPositions positions;
  bool input_is_rows;
  bool three_taps;
  Operand rows, columns;
  std::vector<Tap> taps;
};

// Transposed masks: for each block of 64 channels, plane and block of positions, two
// words per channel whose bits are the positions. Made once, used by all taps and panels.
class ChannelBits {
 public:
  ChannelBits(const BackwardWeightPass& pass, const uint64_t* mask, int threads)
      : planes_(int64_t(pass.rows.planes.size())),
        blocks_(pass.blocks()),
        words_(size_t(pass.row_blocks() * planes_ * blocks_) * 64 * 2 * 2) {
    const int64_t words = words_of(pass.rows.channels);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pass.row_blocks() * planes_ * blocks_; ++i) {
      const int64_t begin = i % blocks_ * block_positions;
      const Plane& plane = pass.rows.planes[size_t(i / blocks_ % planes_)];
      const int64_t row_block = i / blocks_ / planes_;
      uint64_t bits[2][64] = {};
      for_each_run(pass.positions, plane, begin, begin + block_positions,
                   [&](int64_t offset, int64_t pixel, int64_t step, int64_t count) {
                     for (int64_t j = 0; j < count; ++j) {
                       bits[(offset + j) / 64][(offset + j) % 64] =
                           mask[(pixel + j * step) * words + row_block];
                     }
                   });
      transpose_bits(bits[0]);
      transpose_bits(bits[1]);
      uint64_t* out = data() + i * 128;
      for (int c = 0; c < 64; ++c) {
        out[2 * c] = bits[0][c];
        out[2 * c + 1] = bits[1][c];
      }
    }
  }

  const uint64_t* at(int64_t row_block, int64_t plane, int64_t block) const {
    const auto* words = reinterpret_cast<const uint64_t*>(words_.data());
    return words + ((row_block * planes_ + plane) * blocks_ + block) * 128;
  }

 private:
  uint64_t* data() { return reinterpret_cast<uint64_t*>(words_.data()); }

  int64_t planes_, blocks_;
  Scratch words_;
};

// Which positions hold a pixel of the columns' operand: nothing is added for the others.
class PixelBits {
 public:
  explicit PixelBits(const BackwardWeightPass& pass)
      : lead_((pass.before() + 63) / 64 * 64),
        blocks_(lead_ / 64 + pass.blocks() * (block_positions / 64) + pass.behind() / 64 + 1),
        words_(pass.columns.planes.size() * size_t(blocks_), 0) {
    for (size_t i = 0; i < words_.size(); ++i) {
      const int64_t begin = int64_t(i) % blocks_ * 64 - lead_;
      for_each_run(pass.positions, pass.columns.planes[i / size_t(blocks_)], begin, begin + 64,
                   [&](int64_t offset, int64_t, int64_t, int64_t count) {
                     const uint64_t run = count == 64 ? ~uint64_t(0) : (uint64_t(1) << count) - 1;
                     words_[i] |= run << offset;
                   });
    }
  }

  // Bits of 64 positions from `begin` on.
  uint64_t read(int64_t plane, int64_t begin) const {
    const uint64_t* from = words_.data() + plane * blocks_ + (begin + lead_) / 64;
    const int bit = int((begin + lead_) % 64);
    return bit ? (from[0] >> bit) | (from[1] << (64 - bit)) : from[0];
  }

 private:
  int64_t lead_, blocks_;
  std::vector<uint64_t> words_;
};

}  // namespace espalier
