// Activations between two layers of which a part holds some neurons: panels [panel][neuron][lane],
// and the copies and sums that parts exchange.
#pragma once

#include <cstdint>
#include <vector>

#include "inference/layer.h"

namespace espalier {

// Panels one after the other; `neurons` is what memory holds of each, of which a layer may use the
// first few.
template <typename T>
struct PanelArray {
  T* data;
  int64_t panels, neurons, lanes;
  T* neuron(int64_t panel, int64_t index) const { return data + (panel * neurons + index) * lanes; }
};

// y = clamp(W x + bias) panel by panel; `alive` [panels][lanes] is 0 where all outputs are 0.
void run_panels(const PackedLayer& layer, const PanelArray<const float>& x,
                const PanelArray<float>& y, float* alive, int threads);

// target[:, first + i] = source[:, index[i]]
void take_neurons(const PanelArray<const float>& source, const int64_t* index, int64_t count,
                  const PanelArray<float>& target, int64_t first);

// target[:, index[i]] += source[:, first + i]
void add_neurons(const PanelArray<const float>& source, int64_t first, const int64_t* index,
                 int64_t count, const PanelArray<float>& target);

// The numbers of steps that parts have announced, each on a cache line of its own, in memory that
// their processes share.
class StepCounters {
 public:
  static constexpr int64_t stride = 8;  // in uint64_t
  explicit StepCounters(uint64_t* steps) : steps_(steps) {}

  // Everything this process wrote before is seen by whoever waits for this step.
  void announce(int64_t part, uint64_t step) const;
  // Waits until all of these parts have announced the step; returns -1, or the first that has not
  // when the time is over.
  int64_t wait(const int64_t* parts, int64_t count, uint64_t step, double seconds) const;

 private:
  uint64_t* steps_;
};

// One part's side of an exchange through memory that all parts see: each packs what others read
// into its own piece, and takes theirs from their pieces. Two halves of the memory alternate.
struct SharedExchange {
  static constexpr int halves = 2;

  int64_t part;                     // whose it is
  std::vector<int64_t> send_index;  // the neurons it packs
  // For each part, which of the neurons that one packs it takes.
  std::vector<std::vector<int64_t>> receive_index;
  std::vector<int64_t> send_counts;      // neurons that each part packs
  std::vector<int64_t> receive_offsets;  // where in x those of each part begin
  uint64_t* steps;
  std::vector<float*> memory;  // [half][part]
  int64_t capacity = 0;        // floats of each

  // Whether panels of so many lanes fit.
  bool fits(const PanelArray<const float>& x) const;
  void start(const PanelArray<const float>& x, uint64_t step) const;
  // -1, or the first part that was late.
  int64_t finish(const PanelArray<float>& x, uint64_t step, double seconds) const;
};

}  // namespace espalier
