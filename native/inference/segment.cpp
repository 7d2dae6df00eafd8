#include "inference/segment.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "isa/dispatch.h"
#include "memory/buffer.h"

namespace espalier {

namespace {

constexpr int vector_lanes = 16;  // pack_lanes moves this many lanes at a time

// What the threads of a run tell each other.
struct RunState {
  const Poll& poll;
  const int64_t samples;
  std::atomic<bool> good{true}, stop{false};
  std::atomic<int64_t> done{0}, next_row{0};

  // Whether to go on is for the calling thread to ask: it alone may run Python's signal handlers.
  bool halted() {
    if (omp_get_thread_num() == 0 && poll(done, samples)) stop = true;
    return stop || !good;
  }
};

// One thread's samples on their way through the layers: up to `panels` panels of living lanes.
class PanelGroup {
 public:
  PanelGroup(const Segment& segment, const Samples& samples)
      : segment_(segment), samples_(samples), kernels_(kernels()), tile_(segment.tile) {
    int64_t widest = segment.first ? 0 : samples.width;
    for (const PackedLayer* layer : segment.layers) {
      widest = std::max<int64_t>(widest, layer->view().outputs);
      unbounded_ |= std::isinf(layer->view().upper);
    }
    const size_t panel_floats = size_t(widest) * tile_;
    storage_ = Buffer(panel_floats * (segment.panels + 1));
    for (int p = 0; p < segment.panels; ++p) panels_.push_back(storage_.data() + p * panel_floats);
    spare_ = storage_.data() + segment.panels * panel_floats;
    if (segment.first || !samples.dense) {
      scratch_ = Buffer(size_t(tile_) * segment.layers[0]->view().outputs);
    }
    alive_ = Buffer(size_t(tile_) * segment.panels);
    sample_.reserve(size_t(tile_) * segment.panels);
  }

  // Carries samples first ... first + count through all layers; false on a bad sample. Gives up
  // between two layers when the run is halted.
  bool run(int64_t first, int64_t count, const SegmentOutput& output, RunState& shared) {
    sample_.resize(count);
    for (int64_t i = 0; i < count; ++i) sample_[i] = first + i;
    lanes_ = count;
    bool finite = true;
    for (size_t l = 0; l < segment_.layers.size() && lanes_; ++l) {
      if (shared.halted()) return true;
      const LayerView& layer = segment_.layers[l]->view();
      count_into(output.processed[l], lanes_);
      std::fill_n(alive_.data(), size_t(panels()) * tile_, 0.0f);
      if (l == 0 && segment_.first) {
        finite &= scatter_first(layer);
      } else {
        if (l == 0) finite &= load_samples();
        for (int p = 0; p < panels(); ++p) {
          kernels_.spmm(layer, panels_[p], spare_, tile_, alive_.data() + p * tile_);
          std::swap(panels_[p], spare_);
        }
      }
      const int64_t living = count_living();
      count_into(output.living[l], living);
      const bool last = l + 1 == segment_.layers.size();
      const bool frees_a_panel = (living + tile_ - 1) / tile_ < panels();
      if (last) mark_alive(output);
      if (segment_.droppable[l] && living < lanes_ && (last || frees_a_panel)) {
        drop_dead(layer.outputs, output);
      }
    }
    return store_rows(output, shared.next_row) && finite;
  }

 private:
  int panels() const { return int((lanes_ + tile_ - 1) / tile_); }
  int64_t matrix_row(int64_t lane) const {
    return samples_.rows ? samples_.rows[sample_[lane]] : sample_[lane];
  }
  static void count_into(int64_t& total, int64_t amount) {
#pragma omp atomic
    total += amount;
  }

  bool load_samples() {
    bool finite = true;
    for (int p = 0; p < panels(); ++p) {
      const int64_t begin = int64_t(p) * tile_;
      const int count = int(std::min<int64_t>(tile_, lanes_ - begin));
      if (samples_.dense) {
        const float* rows[max_tile];
        for (int i = 0; i < count; ++i) {
          rows[i] = samples_.dense + matrix_row(begin + i) * samples_.width;
          finite &= kernels_.all_finite(rows[i], samples_.width);
        }
        kernels_.rows_to_panel(rows, count, samples_.width, panels_[p], tile_);
      } else if (samples_.wide) {
        finite &= load_sparse<int64_t>(begin, count, panels_[p]);
      } else {
        finite &= load_sparse<int32_t>(begin, count, panels_[p]);
      }
    }
    return finite;
  }

  template <typename Index>
  bool load_sparse(int64_t begin, int count, float* panel) {
    std::fill_n(panel, size_t(samples_.width) * tile_, 0.0f);
    const Index* offsets = static_cast<const Index*>(samples_.row_offsets);
    const Index* columns = static_cast<const Index*>(samples_.column_indices);
    bool good = true;
    for (int lane = 0; lane < count; ++lane) {
      const int64_t row = matrix_row(begin + lane);
      const int64_t from = offsets[row], nonzeros = offsets[row + 1] - from;
      good &= kernels_.all_finite(samples_.values + from, nonzeros);
      for (int64_t k = from; k < from + nonzeros; ++k) {
        const uint64_t column = uint64_t(columns[k]);
        if (column >= uint64_t(samples_.width)) return false;
        panel[column * tile_ + lane] += samples_.values[k];
      }
    }
    return good;
  }

  bool scatter_first(const LayerView& layer) {
    bool good = true;
    for (int p = 0; p < panels(); ++p) {
      const int64_t begin = int64_t(p) * tile_;
      const int count = int(std::min<int64_t>(tile_, lanes_ - begin));
      std::fill_n(scratch_.data(), size_t(count) * layer.outputs, 0.0f);
      const float* rows[max_tile];
      for (int i = 0; i < count; ++i) {
        float* sums = scratch_.data() + size_t(i) * layer.outputs;
        const int64_t row = matrix_row(begin + i);
        good &= samples_.wide ? scatter_row<int64_t>(kernels_.scatter_i64, row, sums)
                              : scatter_row<int32_t>(kernels_.scatter_i32, row, sums);
        const bool any =
            kernels_.finish_row(sums, layer.bias, layer.outputs, layer.lower, layer.upper);
        alive_.data()[begin + i] = any ? 1.0f : 0.0f;
        rows[i] = sums;
      }
      kernels_.rows_to_panel(rows, count, layer.outputs, panels_[p], tile_);
    }
    return good;
  }

  template <typename Index, typename Scatter>
  bool scatter_row(Scatter scatter, int64_t row, float* sums) {
    const Index* offsets = static_cast<const Index*>(samples_.row_offsets);
    const Index* columns = static_cast<const Index*>(samples_.column_indices);
    return scatter(segment_.first->view(), columns + offsets[row], samples_.values + offsets[row],
                   offsets[row + 1] - offsets[row], sums);
  }

  bool lives(int64_t lane) const { return alive_.data()[lane] != 0.0f; }

  int64_t count_living() const {
    int64_t living = 0;
    for (int64_t lane = 0; lane < lanes_; ++lane) living += lives(lane);
    return living;
  }

  void mark_alive(const SegmentOutput& output) const {
    for (int64_t lane = 0; lane < lanes_; ++lane) output.alive[sample_[lane]] = lives(lane);
  }

  // Living lanes move to the front, in order; the samples of dead ones are dropped.
  void drop_dead(int64_t neurons, const SegmentOutput& output) {
    int64_t kept = 0;
    for (int64_t begin = 0; begin < lanes_; begin += vector_lanes) {
      uint32_t mask = 0;
      for (int64_t i = 0; i < std::min<int64_t>(vector_lanes, lanes_ - begin); ++i) {
        mask |= uint32_t(lives(begin + i)) << i;
      }
      move_lanes(begin, mask, kept, neurons);
      for (int i = 0; i < vector_lanes; ++i) {
        if (mask >> i & 1) {
          sample_[kept++] = sample_[begin + i];
        } else if (begin + i < lanes_) {
          output.row_of[sample_[begin + i]] = -1;
        }
      }
    }
    lanes_ = kept;
  }

  // Lanes begin ... begin + 15 under `mask` to lanes kept ..., which may straddle two panels.
  void move_lanes(int64_t begin, uint32_t mask, int64_t kept, int64_t neurons) {
    const float* source = panels_[begin / tile_] + begin % tile_;
    while (mask) {
      const int64_t room = tile_ - kept % tile_;
      uint32_t part = mask;
      while (__builtin_popcount(part) > room) part &= ~(1u << (31 - __builtin_clz(part)));
      float* target = panels_[kept / tile_] + kept % tile_;
      kernels_.pack_lanes(source, part, target, neurons, tile_);
      kept += __builtin_popcount(part);
      mask &= ~part;
    }
  }

  // Rows are handed out in the order panel groups finish: only memory that holds a row is touched.
  // False when some output is not finite, which only layers without a clip bring about.
  bool store_rows(const SegmentOutput& output, std::atomic<int64_t>& next_row) {
    bool finite = true;
    const int64_t outputs = segment_.layers.back()->view().outputs;
    const int64_t first = next_row.fetch_add(lanes_);
    for (int p = 0; p < panels(); ++p) {
      const int64_t begin = int64_t(p) * tile_;
      const int count = int(std::min<int64_t>(tile_, lanes_ - begin));
      float* rows[max_tile];
      for (int i = 0; i < count; ++i) {
        output.row_of[sample_[begin + i]] = first + begin + i;
        rows[i] = output.rows + size_t(first + begin + i) * outputs;
      }
      kernels_.panel_to_rows(panels_[p], tile_, outputs, rows, count);
      for (int i = 0; unbounded_ && i < count; ++i) finite &= kernels_.all_finite(rows[i], outputs);
    }
    return finite;
  }

  const Segment& segment_;
  const Samples& samples_;
  const KernelTable& kernels_;
  const int tile_;
  Buffer storage_, scratch_, alive_;
  std::vector<float*> panels_;   // samples of lanes p * tile ... in storage
  float* spare_;                 // where the next output goes: the panel just read, still in cache
  std::vector<int64_t> sample_;  // the sample in each lane
  int64_t lanes_ = 0;            // occupied lanes
  bool unbounded_ = false;       // some layer has no clip
};

}  // namespace

RunStatus run_segment(const Segment& segment, const Samples& samples, const SegmentOutput& output,
                      const Poll& poll) {
  const int64_t size = int64_t(segment.tile) * segment.panels;
  const int64_t groups = (samples.count + size - 1) / size;
  const int threads = int(std::clamp<int64_t>(groups, 1, segment.threads));
  RunState shared{poll, samples.count};

  // Built outside the parallel region, where running out of memory can still be reported.
  std::vector<PanelGroup> of_thread;
  of_thread.reserve(threads);
  for (int t = 0; t < threads; ++t) of_thread.emplace_back(segment, samples);

#pragma omp parallel num_threads(threads)
  {
    PanelGroup& group = of_thread[omp_get_thread_num()];
#pragma omp for schedule(dynamic, 1)
    for (int64_t g = 0; g < groups; ++g) {
      if (shared.stop || !shared.good) continue;
      const int64_t first = g * size, count = std::min(size, samples.count - first);
      if (!group.run(first, count, output, shared)) shared.good = false;
      shared.done += count;
    }
  }
  if (!shared.good) return RunStatus::bad_sample;
  return shared.stop ? RunStatus::stopped : RunStatus::finished;
}

}  // namespace espalier
