// Panels of a part's neurons, and what parts exchange.
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bindings/bindings.h"
#include "isa/dispatch.h"
#include "exchange/panels.h"

using namespace espalier;

namespace {

template <typename T>
using Cube = nb::ndarray<T, nb::numpy, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

template <typename T>
Panels3<T> panels_of(const Cube<T>& array) {
  return {array.data(), int64_t(array.shape(0)), int64_t(array.shape(1)), int64_t(array.shape(2))};
}

void check_exchange(const Panels3<const float>& source, const Panels3<float>& target,
                    const Array<int64_t>& index, int64_t indexed, int64_t packed, int64_t first) {
  require(source.panels == target.panels && source.lanes == target.lanes,
          "panels differ in number or lanes");
  require(first >= 0 && first + int64_t(index.size()) <= packed, "neurons beyond the panels");
  for (size_t i = 0; i < index.size(); ++i) {
    require(index.data()[i] >= 0 && index.data()[i] < indexed, "index names a neuron outside");
  }
}

Arrivals arrivals_of(const Output<uint64_t, 2>& steps, const int64_t* parts, size_t count) {
  require(steps.shape(1) == size_t(Arrivals::stride), "steps must be [parts][8]");
  for (size_t i = 0; i < count; ++i) {
    require(parts[i] >= 0 && size_t(parts[i]) < steps.shape(0), "there is no such part");
  }
  return Arrivals(steps.data());
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

void make_exchange(HeldExchange* self, int64_t part, const Array<int64_t>& outbox,
                   const std::vector<Array<int64_t>>& places, const Array<int64_t>& packed,
                   const Array<int64_t>& starts, const Output<uint64_t, 2>& steps) {
  SharedExchange exchange{};
  exchange.part = part;
  exchange.outbox = copy_of(outbox);
  exchange.packed = copy_of(packed);
  exchange.starts = copy_of(starts);
  for (const auto& each : places) exchange.places.push_back(copy_of(each));
  const size_t parts = packed.size();
  require(part >= 0 && size_t(part) < parts && places.size() == parts &&
              starts.size() == parts + 1 && steps.shape(0) == parts &&
              steps.shape(1) == size_t(Arrivals::stride),
          "an exchange must know every part");
  require(int64_t(outbox.size()) == exchange.packed[size_t(part)], "the outbox has another size");
  const int64_t own = exchange.starts[0];  // received neurons come behind the own ones
  for (int64_t place : exchange.outbox) require(place >= 0 && place < own, "no such neuron");
  for (size_t p = 0; p < parts; ++p) {
    require(exchange.starts[p + 1] - exchange.starts[p] == int64_t(exchange.places[p].size()),
            "received neurons must lie one behind the other");
    for (int64_t place : exchange.places[p]) {
      require(place >= 0 && place < exchange.packed[p], "no such neuron in what a part packs");
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
        arrivals_of(steps, &part, 1).announce(part, step);
      },
      nb::arg("steps").noconvert(), nb::arg("part"), nb::arg("step"));

  module.def(
      "wait_for_step",
      [](const Output<uint64_t, 2>& steps, const Array<int64_t>& parts, uint64_t step,
         double seconds) {
        const Arrivals arrivals = arrivals_of(steps, parts.data(), parts.size());
        nb::gil_scoped_release released;
        return arrivals.wait(parts.data(), int64_t(parts.size()), step, seconds);
      },
      nb::arg("steps").noconvert(), nb::arg("parts").noconvert(), nb::arg("step"),
      nb::arg("seconds"));

  nb::class_<HeldExchange>(module, "SharedExchange")
      .def("__init__", &make_exchange, nb::arg("part"), nb::arg("outbox").noconvert(),
           nb::arg("places"), nb::arg("packed").noconvert(), nb::arg("starts").noconvert(),
           nb::arg("steps").noconvert())
      .def(
          "attach",
          [](HeldExchange& self, std::vector<Output<float>> memories) {
            const size_t parts = self.exchange.packed.size();
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
            const Panels3<const float> from{x.data(), int64_t(x.shape(0)), int64_t(x.shape(1)),
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
            const Panels3<const float> same{to.data, to.panels, to.neurons, to.lanes};
            require(!self.memories.empty() && self.exchange.fits(same),
                    "the panels do not fit the exchange");
            nb::gil_scoped_release released;
            return self.exchange.finish(to, step, seconds);
          },
          nb::arg("x").noconvert(), nb::arg("step"), nb::arg("seconds"));
}
