// Panels of a part's neurons, and what parts exchange.
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bindings/bindings.h"
#include "exchange/panels.h"
#include "isa/dispatch.h"

using namespace espalier;

namespace {

template <typename T>
using Cube = nb::ndarray<T, nb::numpy, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

template <typename T>
PanelArray<T> panels_of(const Cube<T>& array) {
  return {array.data(), int64_t(array.shape(0)), int64_t(array.shape(1)), int64_t(array.shape(2))};
}

void check_exchange(const PanelArray<const float>& source, const PanelArray<float>& target,
                    const Array<int64_t>& index, int64_t indexed, int64_t packed, int64_t first) {
  require(source.panels == target.panels && source.lanes == target.lanes,
          "panels differ in number or lanes");
  require(first >= 0 && first + int64_t(index.size()) <= packed, "neurons beyond the panels");
  for (size_t i = 0; i < index.size(); ++i) {
    require(index.data()[i] >= 0 && index.data()[i] < indexed, "index names a neuron outside");
  }
}

StepCounters step_counters(const Output<uint64_t, 2>& steps, const int64_t* parts, size_t count) {
  require(steps.shape(1) == size_t(StepCounters::stride), "steps must be [parts][8]");
  for (size_t i = 0; i < count; ++i) {
    require(parts[i] >= 0 && size_t(parts[i]) < steps.shape(0), "there is no such part");
  }
  return StepCounters(steps.data());
}

// An exchange and the arrays that its memory lies in.
struct HeldExchange {
  SharedExchange exchange;
  Output<uint64_t, 2> steps;
  std::vector<Output<float>> memories;
};

std::vector<int64_t> copy_of(const Array<int64_t>& array) {
  return {array.data(), array.data() + array.size()};
}

void make_exchange(HeldExchange* self, int64_t part, const Array<int64_t>& send_index,
                   const std::vector<Array<int64_t>>& receive_index,
                   const Array<int64_t>& send_counts, const Array<int64_t>& receive_offsets,
                   const Output<uint64_t, 2>& steps) {
  SharedExchange exchange{};
  exchange.part = part;
  exchange.send_index = copy_of(send_index);
  exchange.send_counts = copy_of(send_counts);
  exchange.receive_offsets = copy_of(receive_offsets);
  for (const auto& each : receive_index) exchange.receive_index.push_back(copy_of(each));
  const size_t parts = send_counts.size();
  require(part >= 0 && size_t(part) < parts && receive_index.size() == parts &&
              receive_offsets.size() == parts + 1 && steps.shape(0) == parts &&
              steps.shape(1) == size_t(StepCounters::stride),
          "an exchange must know every part");
  require(int64_t(send_index.size()) == exchange.send_counts[size_t(part)],
          "send_index has another size");
  const int64_t own = exchange.receive_offsets[0];  // received neurons come behind the own ones
  for (int64_t index : exchange.send_index) require(index >= 0 && index < own, "no such neuron");
  for (size_t p = 0; p < parts; ++p) {
    require(exchange.receive_offsets[p + 1] - exchange.receive_offsets[p] ==
                int64_t(exchange.receive_index[p].size()),
            "received neurons must lie one behind the other");
    for (int64_t index : exchange.receive_index[p]) {
      require(index >= 0 && index < exchange.send_counts[p], "no such neuron in what a part packs");
    }
  }
  exchange.steps = steps.data();
  new (self) HeldExchange{std::move(exchange), steps, {}};
}

}  // namespace

void bind_panels(nb::module_& module) {
  module.def(
      "run_panels",
      [](const PackedLayer& layer, const Cube<const float>& x, const Cube<float>& y,
         const Output<float, 2>& alive, int threads) {
        const auto from = panels_of(x);
        const auto to = panels_of(y);
        require(from.lanes == 16 || from.lanes == 32 || from.lanes == 64,
                "lanes must be 16, 32 or 64");
        require(from.panels == to.panels && from.lanes == to.lanes &&
                    int64_t(alive.shape(0)) == from.panels && int64_t(alive.shape(1)) == from.lanes,
                "panels differ in number or lanes");
        require(layer.view().inputs <= from.neurons && layer.view().outputs <= to.neurons,
                "panels are too narrow for the layer");
        nb::gil_scoped_release released;
        run_panels(layer, from, to, alive.data(), thread_count(threads));
      },
      nb::arg("layer"), nb::arg("x").noconvert(), nb::arg("y").noconvert(),
      nb::arg("alive").noconvert(), nb::arg("threads"));

  module.def(
      "take_neurons",
      [](const Cube<const float>& source, const Array<int64_t>& index, const Cube<float>& target,
         int64_t first) {
        const auto from = panels_of(source);
        const auto to = panels_of(target);
        check_exchange(from, to, index, from.neurons, to.neurons, first);
        nb::gil_scoped_release released;
        take_neurons(from, index.data(), int64_t(index.size()), to, first);
      },
      nb::arg("source").noconvert(), nb::arg("index").noconvert(), nb::arg("target").noconvert(),
      nb::arg("first"));

  module.def(
      "add_neurons",
      [](const Cube<const float>& source, int64_t first, const Array<int64_t>& index,
         const Cube<float>& target) {
        const auto from = panels_of(source);
        const auto to = panels_of(target);
        check_exchange(from, to, index, to.neurons, from.neurons, first);
        nb::gil_scoped_release released;
        add_neurons(from, first, index.data(), int64_t(index.size()), to);
      },
      nb::arg("source").noconvert(), nb::arg("first"), nb::arg("index").noconvert(),
      nb::arg("target").noconvert());

  module.def(
      "announce_step",
      [](const Output<uint64_t, 2>& steps, int64_t part, uint64_t step) {
        step_counters(steps, &part, 1).announce(part, step);
      },
      nb::arg("steps").noconvert(), nb::arg("part"), nb::arg("step"));

  module.def(
      "wait_for_step",
      [](const Output<uint64_t, 2>& steps, const Array<int64_t>& parts, uint64_t step,
         double seconds) {
        const StepCounters counters = step_counters(steps, parts.data(), parts.size());
        nb::gil_scoped_release released;
        return counters.wait(parts.data(), int64_t(parts.size()), step, seconds);
      },
      nb::arg("steps").noconvert(), nb::arg("parts").noconvert(), nb::arg("step"),
      nb::arg("seconds"));

  nb::class_<HeldExchange>(module, "SharedExchange")
      .def("__init__", &make_exchange, nb::arg("part"), nb::arg("send_index").noconvert(),
           nb::arg("receive_index"), nb::arg("send_counts").noconvert(),
           nb::arg("receive_offsets").noconvert(), nb::arg("steps").noconvert())
      .def(
          "attach",
          [](HeldExchange& self, std::vector<Output<float>> memories) {
            const size_t parts = self.exchange.send_counts.size();
            require(memories.size() == SharedExchange::halves * parts,
                    "every part has two halves of memory");
            self.exchange.memory.clear();
            self.exchange.capacity = INT64_MAX;
            for (const auto& memory : memories) {
              self.exchange.memory.push_back(memory.data());
              self.exchange.capacity = std::min(self.exchange.capacity, int64_t(memory.size()));
            }
            self.memories = std::move(memories);
          },
          nb::arg("memories"))
      .def(
          "start",
          [](const HeldExchange& self, const Cube<float>& x, uint64_t step) {
            const PanelArray<const float> from{x.data(), int64_t(x.shape(0)), int64_t(x.shape(1)),
                                               int64_t(x.shape(2))};
            require(!self.memories.empty() && self.exchange.fits(from),
                    "the panels do not fit the exchange");
            self.exchange.start(from, step);
          },
          nb::arg("x").noconvert(), nb::arg("step"))
      .def(
          "finish",
          [](const HeldExchange& self, const Cube<float>& x, uint64_t step, double seconds) {
            const auto to = panels_of(x);
            const PanelArray<const float> same{to.data, to.panels, to.neurons, to.lanes};
            require(!self.memories.empty() && self.exchange.fits(same),
                    "the panels do not fit the exchange");
            nb::gil_scoped_release released;
            return self.exchange.finish(to, step, seconds);
          },
          nb::arg("x").noconvert(), nb::arg("step"), nb::arg("seconds"));
}
