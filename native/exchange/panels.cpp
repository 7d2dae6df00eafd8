#include "exchange/panels.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "isa/dispatch.h"

namespace espalier {

void run_panels(const PackedLayer& layer, const PanelArray<const float>& x,
                const PanelArray<float>& y, float* alive, int threads) {
  const KernelTable& table = kernels();
  std::fill_n(alive, x.panels * x.lanes, 0.0f);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
  for (int64_t p = 0; p < x.panels; ++p) {
    table.spmm(layer.view(), x.neuron(p, 0), y.neuron(p, 0), int(x.lanes), alive + p * x.lanes);
  }
}

void take_neurons(const PanelArray<const float>& source, const int64_t* index, int64_t count,
                  const PanelArray<float>& target, int64_t first) {
  for (int64_t p = 0; p < source.panels; ++p) {
    float* out = target.neuron(p, first);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(source.neuron(p, index[i]), source.lanes, out + i * source.lanes);
    }
  }
}

void add_neurons(const PanelArray<const float>& source, int64_t first, const int64_t* index,
                 int64_t count, const PanelArray<float>& target) {
  for (int64_t p = 0; p < source.panels; ++p) {
    const float* in = source.neuron(p, first);
    for (int64_t i = 0; i < count; ++i) {
      float* sum = target.neuron(p, index[i]);
      for (int64_t lane = 0; lane < source.lanes; ++lane) sum[lane] += in[i * source.lanes + lane];
    }
  }
}

void StepCounters::announce(int64_t part, uint64_t step) const {
  std::atomic_ref<uint64_t>(steps_[part * stride]).store(step, std::memory_order_release);
}

int64_t StepCounters::wait(const int64_t* parts, int64_t count, uint64_t step,
                           double seconds) const {
  using Clock = std::chrono::steady_clock;
  // A part that shares its core with the one waited for must give it up soon.
  constexpr int spins_before_yield = 4096, spins_a_check = 64;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  int spins = 0;
  for (int64_t i = 0; i < count; ++i) {
    const std::atomic_ref<uint64_t> theirs(steps_[parts[i] * stride]);
    while (theirs.load(std::memory_order_acquire) < step) {
      if (++spins > spins_before_yield) sched_yield();
      if (spins % spins_a_check == 0 && Clock::now() > end) return parts[i];
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }
  return -1;
}

bool SharedExchange::fits(const PanelArray<const float>& x) const {
  const int64_t most = *std::max_element(send_counts.begin(), send_counts.end());
  return x.neurons >= receive_offsets.back() && most * x.panels * x.lanes <= capacity;
}

void SharedExchange::start(const PanelArray<const float>& x, uint64_t step) const {
  const int64_t parts = int64_t(send_counts.size());
  float* mine = memory[size_t(int64_t(step % halves) * parts + part)];
  const PanelArray<float> target{mine, x.panels, send_counts[size_t(part)], x.lanes};
  take_neurons(x, send_index.data(), int64_t(send_index.size()), target, 0);
  StepCounters(steps).announce(part, step);
}

int64_t SharedExchange::finish(const PanelArray<float>& x, uint64_t step, double seconds) const {
  const int64_t parts = int64_t(send_counts.size());
  // Everybody: whoever announces this step has read all of the step before it.
  for (int64_t other = 0; other < parts; ++other) {
    if (other == part) continue;
    const int64_t late = StepCounters(steps).wait(&other, 1, step, seconds);
    if (late >= 0) return late;
    const auto& wanted = receive_index[size_t(other)];
    const float* theirs = memory[size_t(int64_t(step % halves) * parts + other)];
    const PanelArray<const float> source{theirs, x.panels, send_counts[size_t(other)], x.lanes};
    take_neurons(source, wanted.data(), int64_t(wanted.size()), x, receive_offsets[size_t(other)]);
  }
  return -1;
}

}  // namespace espalier
