// Panels of a part's neurons, and what parts exchange.
#include "bindings.h"
#include "dispatch.h"
#include "panels.h"

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
}
