// Sparse samples times sparse weights, layer by layer.
#include <nanobind/stl/tuple.h>

#include <tuple>

#include "bindings/bindings.h"
#include "inference/spgemm.h"
#include "isa/dispatch.h"

using namespace espalier;

namespace {

// The samples of a run between two layers; two of them alternate as input and output.
struct SpgemmRun {
  SpgemmRun() = default;
  SpgemmRun(const SpgemmRun&) = delete;
  SpgemmRun& operator=(const SpgemmRun&) = delete;

  SparseRows now, next;
  Workspace workspace;
  std::vector<int64_t> ids;  // the caller's number of each row
};

}  // namespace

void bind_spgemm(nb::module_& module) {
  nb::class_<SpgemmRun>(module, "SpgemmRun")
      .def(
          "__init__",
          [](SpgemmRun* self, const Array<int64_t>& row_offsets,
             const Array<int32_t>& column_indices, const Array<float>& values, int32_t width) {
            const CsrView csr = samples_view(row_offsets, column_indices, values, width);
            for (int32_t r = 0; r < csr.outputs; ++r) {
              require(csr.row_offsets[r] >= 0 && csr.row_offsets[r] <= csr.row_offsets[r + 1],
                      "row_offsets must rise");
            }
            for (size_t k = 0; k < column_indices.size(); ++k) {
              require(uint32_t(column_indices.data()[k]) < uint32_t(width),
                      "column_indices lie outside the matrix");
            }
            new (self) SpgemmRun();
            self->now.row_offsets.assign(csr.row_offsets, csr.row_offsets + csr.outputs + 1);
            self->now.column_indices.assign(csr.column_indices,
                                            csr.column_indices + column_indices.size());
            self->now.values.assign(csr.values, csr.values + values.size());
            for (int64_t i = 0; i < csr.outputs; ++i) self->ids.push_back(i);
          },
          nb::arg("row_offsets").noconvert(), nb::arg("column_indices").noconvert(),
          nb::arg("values").noconvert(), nb::arg("width"))
      .def(
          "multiply",
          [](SpgemmRun& self, const PackedLayer& layer, const InputMajor& weights, bool reuse,
             int threads) {
            require(layer.view().inputs == weights.view().inputs, "weights do not fit");
            nb::gil_scoped_release released;
            const int count = thread_count(threads);
            if (reuse) {
              spgemm(self.now, layer, weights, self.workspace, self.next, count);
            } else {
              Workspace fresh;
              SparseRows out;
              const int64_t room = spgemm_count(self.now, weights, layer.view().outputs, count);
              out.column_indices.reserve(size_t(room));
              out.values.reserve(size_t(room));
              spgemm(self.now, layer, weights, fresh, out, count);
              self.next = std::move(out);
            }
            std::swap(self.now, self.next);
          },
          nb::arg("layer"), nb::arg("weights"), nb::arg("reuse"), nb::arg("threads"))
      .def("drop_empty_rows", [](SpgemmRun& self) { drop_empty_rows(self.now, self.ids); })
      .def_prop_ro("rows", [](const SpgemmRun& self) { return self.ids.size(); })
      .def_prop_ro("nonzeros", [](const SpgemmRun& self) { return self.now.values.size(); })
      .def("result", [](const SpgemmRun& self) {
        return std::make_tuple(to_numpy(std::vector<int64_t>(self.now.row_offsets)),
                               to_numpy(std::vector<int32_t>(self.now.column_indices)),
                               to_numpy(std::vector<float>(self.now.values)),
                               to_numpy(std::vector<int64_t>(self.ids)));
      });
}
