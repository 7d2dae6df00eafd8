// The three passes over tiles of samples, cut among threads by non-zeros or by samples.
//
// By samples, each thread packs its own samples into panels and reads no others: half of a panel
// that another core has just written costs more than packing it did. All threads then read the
// whole pattern, so that is for patterns that stay in cache.
#include <omp.h>

#include <algorithm>
#include <optional>

#include "isa/dispatch.h"
#include "memory/scratch.h"
#include "pattern/pattern.h"

namespace espalier {

namespace {

// Values and gradients of so many entries stay in L2 beside a panel.
constexpr int64_t entries_in_cache = 1 << 17;
// How early samples are fetched that lie behind L2, in entries.
constexpr int64_t source_ahead = 16;
static_assert(source_ahead <= PatternSide::ahead);
// Batches of so many numbers are read where they lie even if a tile is only a part of each line:
// larger ones would crowd into a part of the cache.
constexpr int64_t most_in_place = 1 << 18;
// Fewer multiply-adds than this are not worth waking a thread.
constexpr int64_t work_a_thread = 1 << 19;
// Narrower tiles than this add in another order.
constexpr int64_t least_vectors = 4;

// A batch cut into tiles of nearly equal width, each a whole number of vectors.
struct BatchTiles {
  // As few tiles as there can be, or the next multiple of `threads`.
  BatchTiles(int64_t batch, const PatternKernels& kernels, int threads = 1)
      : batch(batch),
        lanes(kernels.lanes),
        all((batch + lanes - 1) / lanes),
        count((all + kernels.vectors - 1) / kernels.vectors) {
    count = (count + threads - 1) / threads * threads;
  }
  int64_t first(int64_t tile) const { return all * tile / count; }  // in vectors
  int vectors(int64_t tile) const { return int(first(tile + 1) - first(tile)); }
  int most_vectors() const { return int((all + count - 1) / count); }
  int64_t begin(int64_t tile) const { return first(tile) * lanes; }
  int samples(int64_t tile) const {
    return int(std::min(batch, first(tile + 1) * lanes) - begin(tile));
  }
  int last_lanes(int64_t tile) const { return samples(tile) - (vectors(tile) - 1) * lanes; }

  int64_t batch;
  int lanes;
  int64_t all, count;
};

struct Range {
  int64_t begin, end;
};

Range part_of(int64_t count, int part, int parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

// The rows of one thread: all have about as many entries, and a row counts as a few itself.
Range rows_of(const PatternSide& side, int part, int parts) {
  constexpr int64_t row_cost = 4;
  const int64_t all = side.offsets.back() + row_cost * side.rows;
  const auto first_from = [&](int64_t cost) {
    int64_t low = 0, high = side.rows;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (side.offsets[size_t(middle)] + row_cost * middle < cost) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  };
  return {first_from(all * part / parts), first_from(all * (part + 1) / parts)};
}

// One thread's share of the work: some rows of all tiles, or all rows of some tiles.
struct WorkShare {
  int part, parts;
  bool by_samples;

  int64_t first_tile() const { return by_samples ? part : 0; }
  int64_t tile_step() const { return by_samples ? parts : 1; }
  Range features(int64_t count) const {
    return by_samples ? Range{0, count} : part_of(count, part, parts);
  }
  Range rows(const PatternSide& side) const {
    return by_samples ? Range{0, side.rows} : rows_of(side, part, parts);
  }
};

// A batch as panels, one for each tile: where they lie already, or copied.
class BatchPanels {
 public:
  BatchPanels(const BatchView<const float>& samples, const BatchTiles& tiles,
              const KernelTable& table)
      : samples_(samples),
        tiles_(tiles),
        table_(table),
        in_place_(samples.by_feature && samples.batch % tiles.lanes == 0 &&
                  (tiles.count == 1 || samples.features * samples.pitch <= most_in_place)),
        copy_(in_place_ ? 0 : size_t(samples.features * tiles.all * tiles.lanes)) {}

  const float* tile(int64_t t) const {
    return in_place_ ? samples_.data + tiles_.begin(t)
                     : copy_.data() + samples_.features * tiles_.begin(t);
  }
  int64_t pitch(int64_t t) const {
    return in_place_ ? samples_.pitch : int64_t(tiles_.vectors(t)) * tiles_.lanes;
  }

  // One thread's share of copying a tile.
  void fill(int64_t t, const WorkShare& share) {
    if (in_place_) return;
    const Range range = share.features((samples_.features + tiles_.lanes - 1) / tiles_.lanes);
    const int64_t begin = range.begin * tiles_.lanes;
    const int64_t end = std::min(samples_.features, range.end * tiles_.lanes);
    float* out = copy_.data() + samples_.features * tiles_.begin(t);
    if (samples_.by_feature) {
      copy_features(t, begin, end, out);
    } else {
      table_.pattern.rows_to_tile(samples_.data + tiles_.begin(t) * samples_.pitch, samples_.pitch,
                                  tiles_.samples(t), begin, end, out, tiles_.vectors(t));
    }
  }

 private:
  void copy_features(int64_t t, int64_t begin, int64_t end, float* out) const {
    const int count = tiles_.samples(t);
    for (int64_t n = begin; n < end; ++n) {
      const float* source = samples_.data + n * samples_.pitch + tiles_.begin(t);
      std::fill(std::copy_n(source, count, out + n * pitch(t)), out + (n + 1) * pitch(t), 0.0f);
    }
  }

  BatchView<const float> samples_;
  const BatchTiles& tiles_;
  const KernelTable& table_;
  bool in_place_;
  Scratch copy_;
};

// The results of one tile after the other: written in place, or turned to rows behind it. The copy
// has one pitch for all tiles: threads are not all at the same one. By samples each has its own.
class BatchResults {
 public:
  BatchResults(const BatchView<float>& samples, const BatchTiles& tiles, const KernelTable& table,
               int copies)
      : samples_(samples),
        tiles_(tiles),
        table_(table),
        size_(samples.by_feature ? 0 : samples.features * tiles.most_vectors() * tiles.lanes),
        copy_(size_t(size_ * copies)) {}

  void point_to(PatternProduct& product, int64_t t, const WorkShare& share) {
    if (samples_.by_feature) {
      product.result = samples_.data + tiles_.begin(t);
      product.result_pitch = samples_.pitch;
      product.last_lanes = tiles_.last_lanes(t);
    } else {
      product.result = copy_of(share);
      product.result_pitch = int64_t(tiles_.most_vectors()) * tiles_.lanes;
      product.last_lanes = tiles_.lanes;
    }
  }

  void finish(const Range& features, int64_t t, const WorkShare& share) {
    if (samples_.by_feature) return;
    table_.pattern.tile_to_rows(copy_of(share), tiles_.most_vectors(), tiles_.samples(t),
                                features.begin, features.end,
                                samples_.data + tiles_.begin(t) * samples_.pitch, samples_.pitch);
  }

 private:
  float* copy_of(const WorkShare& share) {
    return copy_.data() + (share.by_samples ? size_ * share.part : 0);
  }

  BatchView<float> samples_;
  const BatchTiles& tiles_;
  const KernelTable& table_;
  int64_t size_;
  Scratch copy_;
};

// Runs one thread's tiles, each once its panels are there: by rows all threads copy all first.
template <typename Fill, typename Run>
void for_each_tile(const BatchTiles& tiles, const WorkShare& share, const Fill& fill,
                   const Run& run) {
  if (!share.by_samples) {
    for (int64_t t = 0; t < tiles.count; ++t) fill(t);
#pragma omp barrier
  }
  for (int64_t t = share.first_tile(); t < tiles.count; t += share.tile_step()) {
    if (share.by_samples) fill(t);
    run(t);
  }
}

template <typename Run>
void for_each_block(const PatternSide& side, const Range& range, const Run& run) {
  for (int64_t b = 0; b < side.blocks(); ++b) {
    run(b > 0, PatternRows{range.begin, range.end, side.first(b), side.last(b), side.indices.data(),
                           side.order.empty() ? nullptr : side.order.data(),
                           side.offsets.back() > entries_in_cache ? PatternSide::ahead : 0,
                           side.leaves_cache ? source_ahead : 0});
  }
}

int threads_for(const Pattern& pattern, int64_t batch, int threads) {
  const int64_t work = pattern.nonzeros() * batch + (pattern.rows() + pattern.columns()) * batch;
  return int(std::clamp<int64_t>(work / work_a_thread, 1, threads));
}

// Into how many parts the samples are shared out: one for each thread, or 1 where threads take
// rows instead. Not by the layout of the samples, on which the bits must not depend. The fewer
// samples a thread has to itself, the smaller is the pattern that it may read for them.
int batch_parts(const Pattern& pattern, int64_t batch, int threads) {
  const BatchTiles tiles(batch, kernels().pattern, threads);
  const int64_t vectors = tiles.all / tiles.count;
  const bool pays = vectors >= least_vectors &&
                    pattern.nonzeros() <= entries_in_cache * vectors / kernels().pattern.vectors;
  return pays ? threads : 1;
}

}  // namespace

void pattern_spmm(const Pattern& pattern, const float* values, const BatchView<const float>& x,
                  const float* bias, const BatchView<float>& y, int threads) {
  if (!x.batch || !pattern.rows()) return;
  const KernelTable& table = kernels();
  threads = threads_for(pattern, x.batch, threads);
  const int parts = batch_parts(pattern, x.batch, threads);
  const BatchTiles tiles(x.batch, table.pattern, parts);
  const PatternSide& side = pattern.by_row();
  BatchPanels panels(x, tiles, table);
  BatchResults results(y, tiles, table, parts);
#pragma omp parallel num_threads(threads)
  {
    const WorkShare share{omp_get_thread_num(), omp_get_num_threads(), parts > 1};
    const Range range = share.rows(side);
    const auto fill = [&](int64_t t) { panels.fill(t, share); };
    for_each_tile(tiles, share, fill, [&](int64_t t) {
      PatternProduct product{};
      product.values = values;
      product.source = panels.tile(t);
      product.source_pitch = panels.pitch(t);
      product.start = bias;
      results.point_to(product, t, share);
      for_each_block(side, range, [&](bool adds, const PatternRows& rows) {
        product.rows = rows;
        product.adds = adds;
        table.pattern.product[tiles.vectors(t) - 1](product);
      });
      results.finish(range, t, share);
    });
  }
}

namespace {

// dx of a tile, with the gradient by the values where that is wanted too.
void backward_by_column(const PatternSide& side, const float* values, const BatchPanels* x,
                        const BatchPanels& dy, BatchResults& dx, float* gradients,
                        const BatchTiles& tiles, const KernelTable& table, const WorkShare& share,
                        int64_t t) {
  const Range range = share.rows(side);
  PatternBackward pass{};
  pass.product.values = values;
  pass.product.source = dy.tile(t);
  pass.product.source_pitch = dy.pitch(t);
  dx.point_to(pass.product, t, share);
  if (x) {
    pass.left = x->tile(t);
    pass.left_pitch = x->pitch(t);
    pass.adds = t > share.first_tile();
    pass.gradients = gradients;
  }
  const int vectors = tiles.vectors(t) - 1;
  for_each_block(side, range, [&](bool adds, const PatternRows& rows) {
    pass.product.rows = rows;
    pass.product.adds = adds;
    if (x) {
      table.pattern.backward[vectors](pass);
    } else {
      table.pattern.product[vectors](pass.product);
    }
  });
  dx.finish(range, t, share);
}

// The gradient by the values alone: row by row, so that it is written in order.
void sddmm_by_row(const PatternSide& side, const BatchPanels& x, const BatchPanels& dy,
                  float* gradients, const BatchTiles& tiles, const KernelTable& table,
                  const WorkShare& share, int64_t t) {
  PatternSddmm pass{};
  pass.left = dy.tile(t);
  pass.left_pitch = dy.pitch(t);
  pass.right = x.tile(t);
  pass.right_pitch = x.pitch(t);
  pass.adds = t > share.first_tile();
  pass.gradients = gradients;
  for_each_block(side, share.rows(side), [&](bool, const PatternRows& rows) {
    pass.rows = rows;
    table.pattern.sddmm[tiles.vectors(t) - 1](pass);
  });
}

void sum_samples(const BatchPanels& dy, const BatchTiles& tiles, const KernelTable& table,
                 const WorkShare& share, int64_t rows, float* sums, int64_t t) {
  const Range range = share.features(rows);
  table.pattern.sum_lanes[tiles.vectors(t) - 1](dy.tile(t), dy.pitch(t), range.begin, range.end,
                                                t > share.first_tile(), sums);
}

// Sums over samples: one array for all threads by rows, one for each by samples, added up
// later.
class SharedSums {
 public:
  SharedSums(float* sums, int64_t count, int parts)
      : sums_(sums),
        count_(count),
        in_parts_(sums && parts > 1),
        partial_(in_parts_ ? size_t(count * parts) : 0) {}

  float* of(const WorkShare& share) {
    return in_parts_ ? partial_.data() + count_ * share.part : sums_;
  }

  // One thread's share, in the order of the threads, once all have theirs.
  void add_up(const WorkShare& share) const {
    if (!in_parts_) return;
    const Range range = part_of(count_, share.part, share.parts);
    std::copy(partial_.data() + range.begin, partial_.data() + range.end, sums_ + range.begin);
    for (int p = 1; p < share.parts; ++p) {
      const float* more = partial_.data() + count_ * p;
      for (int64_t i = range.begin; i < range.end; ++i) sums_[i] += more[i];
    }
  }

 private:
  float* sums_;
  int64_t count_;
  bool in_parts_;
  Scratch partial_;
};

}  // namespace

void pattern_backward(const Pattern& pattern, const float* values, const BatchView<const float>* x,
                      const BatchView<const float>& dy, const PatternGradients& wanted,
                      int threads) {
  if (!dy.batch) {
    if (wanted.values) std::fill_n(wanted.values, pattern.nonzeros(), 0.0f);
    if (wanted.bias) std::fill_n(wanted.bias, pattern.rows(), 0.0f);
    return;
  }
  const KernelTable& table = kernels();
  threads = threads_for(pattern, dy.batch, threads);
  const int parts = batch_parts(pattern, dy.batch, threads);
  const BatchTiles tiles(dy.batch, table.pattern, parts);
  std::optional<BatchPanels> x_panels;
  std::optional<BatchResults> dx;
  if (wanted.values) x_panels.emplace(*x, tiles, table);
  if (wanted.dx) dx.emplace(*wanted.dx, tiles, table, parts);
  BatchPanels dy_panels(dy, tiles, table);
  SharedSums dvalues(wanted.values, pattern.nonzeros(), parts);
  SharedSums dbias(wanted.bias, pattern.rows(), parts);
#pragma omp parallel num_threads(threads)
  {
    const WorkShare share{omp_get_thread_num(), omp_get_num_threads(), parts > 1};
    const auto fill = [&](int64_t t) {
      dy_panels.fill(t, share);
      if (x_panels) x_panels->fill(t, share);
    };
    for_each_tile(tiles, share, fill, [&](int64_t t) {
      if (wanted.bias) {
        sum_samples(dy_panels, tiles, table, share, pattern.rows(), dbias.of(share), t);
      }
      if (dx) {
        backward_by_column(pattern.by_column(), values, x_panels ? &*x_panels : nullptr, dy_panels,
                           *dx, dvalues.of(share), tiles, table, share, t);
      } else if (x_panels) {
        sddmm_by_row(pattern.by_row(), *x_panels, dy_panels, dvalues.of(share), tiles, table, share,
                     t);
      }
    });
    if (share.by_samples) {
#pragma omp barrier
      dvalues.add_up(share);
      dbias.add_up(share);
    }
  }
}

}  // namespace espalier
