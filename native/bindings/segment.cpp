// Packed layers, samples and the run over a segment of layers.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>

#include "bindings/bindings.h"
#include "inference/segment.h"
#include "isa/dispatch.h"
#include "memory/buffer.h"

using namespace espalier;

namespace {

bool valid_tile(int tile) {
  return tile >= min_tile && tile <= max_tile && (tile & (tile - 1)) == 0;
}

// Samples and the Python arrays that hold them.
struct HeldSamples {
  Samples samples;
  std::vector<nb::object> owners;
};

void select_rows(HeldSamples& held, size_t matrix_rows,
                 const std::optional<Array<int64_t>>& index) {
  held.samples.count = int64_t(index ? index->size() : matrix_rows);
  if (!index) return;
  for (size_t i = 0; i < index->size(); ++i) {
    const int64_t row = index->data()[i];
    require(row >= 0 && size_t(row) < matrix_rows, "index names a row outside the matrix");
  }
  held.samples.rows = index->data();
  held.owners.push_back(nb::cast(*index));
}

HeldSamples dense_samples(const Array<float, 2>& matrix,
                          const std::optional<Array<int64_t>>& index) {
  HeldSamples held;
  held.samples.width = int32_t(matrix.shape(1));
  held.samples.dense = matrix.data();
  held.owners.push_back(nb::cast(matrix));
  select_rows(held, matrix.shape(0), index);
  return held;
}

template <typename Index>
HeldSamples sparse_samples(const Array<Index>& row_offsets, const Array<Index>& column_indices,
                           const Array<float>& values, int32_t width,
                           const std::optional<Array<int64_t>>& index) {
  require(row_offsets.size() >= 1 && row_offsets.data()[0] == 0, "row_offsets must start at 0");
  for (size_t r = 1; r < row_offsets.size(); ++r) {
    require(row_offsets.data()[r] >= row_offsets.data()[r - 1], "row_offsets must rise");
  }
  const size_t nonzeros = size_t(row_offsets.data()[row_offsets.size() - 1]);
  require(nonzeros <= column_indices.size() && nonzeros <= values.size(),
          "row_offsets point past the end");
  HeldSamples held;
  held.samples.width = width;
  held.samples.row_offsets = row_offsets.data();
  held.samples.column_indices = column_indices.data();
  held.samples.values = values.data();
  held.samples.wide = sizeof(Index) == 8;
  for (nb::object owner : {nb::cast(row_offsets), nb::cast(column_indices), nb::cast(values)}) {
    held.owners.push_back(std::move(owner));
  }
  select_rows(held, row_offsets.size() - 1, index);
  return held;
}

int run(const std::vector<const PackedLayer*>& layers, const InputMajor* first,
        const HeldSamples& held, const Array<uint8_t>& droppable, int tile, int panels, int threads,
        const Output<float, 2>& rows, const Output<int64_t>& row_of, const Output<uint8_t>& alive,
        const Output<int64_t>& processed, const Output<int64_t>& living, nb::object progress) {
  require(!layers.empty(), "no layers");
  require(valid_tile(tile) && panels >= 1, "tile must be 16, 32 or 64, panels at least 1");
  const size_t count = size_t(held.samples.count);
  require(held.samples.width == layers[0]->view().inputs, "samples do not fit the first layer");
  for (size_t l = 1; l < layers.size(); ++l) {
    require(layers[l]->view().inputs == layers[l - 1]->view().outputs, "layers do not fit");
  }
  require(!first || (!held.samples.dense && first->view().inputs == held.samples.width),
          "input-major weights need sparse samples of their width");
  require(rows.shape(0) >= count && rows.shape(1) == size_t(layers.back()->view().outputs) &&
              row_of.size() == count && alive.size() == count &&
              droppable.size() == layers.size() && processed.size() == layers.size() &&
              living.size() == layers.size(),
          "output arrays do not fit");
  const Segment segment = {.layers = layers,
                           .first = first,
                           .droppable = {droppable.data(), droppable.data() + layers.size()},
                           .tile = tile,
                           .panels = panels,
                           .threads = thread_count(threads)};
  const SegmentOutput output = {.rows = rows.data(),
                                .row_of = row_of.data(),
                                .alive = alive.data(),
                                .processed = processed.data(),
                                .living = living.data()};
  RunStatus status;
  bool interrupted = false;
  {
    auto last = std::chrono::steady_clock::now();
    const Poll poll = [&](int64_t done, int64_t total) {
      const auto now = std::chrono::steady_clock::now();
      if (now - last < std::chrono::milliseconds(50)) return false;
      last = now;
      nb::gil_scoped_acquire gil;
      try {
        if (PyErr_CheckSignals() != 0) {
          interrupted = true;
        } else if (!progress.is_none()) {
          progress(done, total);
        }
      } catch (nb::python_error& error) {
        error.restore();
        interrupted = true;
      }
      return interrupted;
    };
    nb::gil_scoped_release released;
    status = run_segment(segment, held.samples, output, poll);
  }
  if (interrupted) nb::raise_python_error();
  return int(status);
}

// Least seconds of one layer on one panel over some rounds: the cost model's raw material.
double time_layer(const PackedLayer& layer, int tile, int rounds) {
  require(valid_tile(tile) && rounds >= 1, "tile must be 16, 32 or 64, rounds at least 1");
  const LayerView& view = layer.view();
  Buffer x(size_t(view.inputs) * tile), y(size_t(view.outputs) * tile), alive(max_tile);
  std::fill_n(x.data(), size_t(view.inputs) * tile, 1.0f);
  std::fill_n(alive.data(), max_tile, 0.0f);
  nb::gil_scoped_release released;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    kernels().spmm(view, x.data(), y.data(), tile, alive.data());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (i > 0) least = std::min(least, took.count());  // round 0 warms the caches
  }
  return least;
}

}  // namespace

void bind_segment(nb::module_& module) {
  nb::class_<PackedLayer>(module, "PackedLayer")
      .def(
          "__init__",
          [](PackedLayer* self, const Array<int64_t>& row_offsets,
             const Array<int32_t>& column_indices, const Array<float>& values, int32_t inputs,
             const Array<float>& bias, float lower, float upper,
             const Array<int64_t>& block_offsets, const Array<int32_t>& block_rows) {
            const CsrView csr = csr_view(row_offsets, column_indices, values, inputs);
            require(bias.size() == size_t(csr.outputs), "bias must have one value per row");
            for (size_t i = 0; i < block_rows.size(); ++i) {
              require(block_rows.data()[i] >= 0 && block_rows.data()[i] < csr.outputs,
                      "block_rows names a row outside the matrix");
            }
            for (size_t b = 0; b < block_offsets.size(); ++b) {
              require(block_offsets.data()[b] >= (b ? block_offsets.data()[b - 1] : 0) &&
                          size_t(block_offsets.data()[b]) <= block_rows.size(),
                      "block_offsets must rise within block_rows");
            }
            nb::gil_scoped_release released;
            new (self)
                PackedLayer(csr, bias.data(), lower, upper,
                            {block_offsets.data(), block_offsets.data() + block_offsets.size()},
                            {block_rows.data(), block_rows.data() + block_rows.size()});
          },
          nb::arg("row_offsets").noconvert(), nb::arg("column_indices").noconvert(),
          nb::arg("values").noconvert(), nb::arg("inputs"), nb::arg("bias").noconvert(),
          nb::arg("lower"), nb::arg("upper"), nb::arg("block_offsets").noconvert(),
          nb::arg("block_rows").noconvert())
      .def_prop_ro("inputs", [](const PackedLayer& self) { return self.view().inputs; })
      .def_prop_ro("outputs", [](const PackedLayer& self) { return self.view().outputs; })
      .def_prop_ro("bytes", &PackedLayer::bytes)
      .def_prop_ro("multiply_adds", &PackedLayer::multiply_adds)
      .def_prop_ro("own_rows", [](const PackedLayer& self) { return self.view().rows.count; })
      .def_prop_ro("blocks", [](const PackedLayer& self) { return self.view().strip_count; });

  nb::class_<InputMajor>(module, "InputMajor")
      .def(
          "__init__",
          [](InputMajor* self, const Array<int64_t>& row_offsets,
             const Array<int32_t>& column_indices, const Array<float>& values, int32_t inputs) {
            const CsrView csr = csr_view(row_offsets, column_indices, values, inputs);
            nb::gil_scoped_release released;
            new (self) InputMajor(csr);
          },
          nb::arg("row_offsets").noconvert(), nb::arg("column_indices").noconvert(),
          nb::arg("values").noconvert(), nb::arg("inputs"))
      .def_prop_ro("bytes", &InputMajor::bytes);

  nb::class_<HeldSamples>(module, "Samples").def_prop_ro("count", [](const HeldSamples& self) {
    return self.samples.count;
  });
  module.def("dense_samples", &dense_samples, nb::arg("matrix").noconvert(),
             nb::arg("index").noconvert().none());
  module.def("sparse_samples", &sparse_samples<int32_t>, nb::arg("row_offsets").noconvert(),
             nb::arg("column_indices").noconvert(), nb::arg("values").noconvert(), nb::arg("width"),
             nb::arg("index").noconvert().none());
  module.def("sparse_samples", &sparse_samples<int64_t>, nb::arg("row_offsets").noconvert(),
             nb::arg("column_indices").noconvert(), nb::arg("values").noconvert(), nb::arg("width"),
             nb::arg("index").noconvert().none());

  module.def("run_segment", &run, nb::arg("layers"), nb::arg("first").none(), nb::arg("samples"),
             nb::arg("droppable").noconvert(), nb::arg("tile"), nb::arg("panels"),
             nb::arg("threads"), nb::arg("rows").noconvert(), nb::arg("row_of").noconvert(),
             nb::arg("alive").noconvert(), nb::arg("processed").noconvert(),
             nb::arg("living").noconvert(), nb::arg("progress").none());
  module.def("time_layer", &time_layer, nb::arg("layer"), nb::arg("tile"), nb::arg("rounds"));
}
