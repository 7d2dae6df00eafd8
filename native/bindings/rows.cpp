// Equal rows, folded columns, classified samples.
#include <nanobind/stl/tuple.h>

#include <optional>
#include <tuple>

#include <nanobind/stl/optional.h>

#include "bindings/bindings.h"
#include "isa/dispatch.h"
#include "simplify/rows.h"

using namespace espalier;

namespace {

void require_rows(const Array<float, 2>& matrix, const Array<int64_t>& index) {
  for (size_t i = 0; i < index.size(); ++i) {
    require(index.data()[i] >= 0 && size_t(index.data()[i]) < matrix.shape(0),
            "index names a row outside the matrix");
  }
}

}  // namespace

void bind_rows(nb::module_& module) {
  module.def(
      "first_equal_rows",
      [](const Array<int64_t>& row_offsets, const Array<int32_t>& column_indices,
         const Array<float>& values, int32_t inputs, const std::optional<Array<float>>& bias) {
        const CsrView csr = csr_view(row_offsets, column_indices, values, inputs);
        require(!bias || bias->size() == size_t(csr.outputs), "bias must have one value per row");
        std::vector<int32_t> first(size_t(csr.outputs));
        {
          nb::gil_scoped_release released;
          first_equal_rows(csr, bias ? bias->data() : nullptr, first.data(), thread_count(0));
        }
        return to_numpy(std::move(first));
      },
      nb::arg("row_offsets").noconvert(), nb::arg("column_indices").noconvert(),
      nb::arg("values").noconvert(), nb::arg("inputs"), nb::arg("bias").noconvert().none());

  module.def(
      "first_equal_samples",
      [](const Array<float, 2>& matrix, const Array<int64_t>& index, int threads) {
        require_rows(matrix, index);
        std::vector<int64_t> first(index.size());
        {
          nb::gil_scoped_release released;
          first_equal_samples(matrix.data(), index.data(), int64_t(index.size()),
                              int64_t(matrix.shape(1)), first.data(), thread_count(threads));
        }
        return to_numpy(std::move(first));
      },
      nb::arg("matrix").noconvert(), nb::arg("index").noconvert(), nb::arg("threads"));

  module.def(
      "classify_samples",
      [](const Array<float, 2>& matrix, const Array<int64_t>& index, float constant, int threads) {
        require_rows(matrix, index);
        std::vector<uint8_t> kind(index.size());
        {
          nb::gil_scoped_release released;
          classify_samples(matrix.data(), index.data(), int64_t(index.size()),
                           int64_t(matrix.shape(1)), constant, kind.data(), thread_count(threads));
        }
        return to_numpy(std::move(kind));
      },
      nb::arg("matrix").noconvert(), nb::arg("index").noconvert(), nb::arg("constant"),
      nb::arg("threads"));

  module.def(
      "fold_columns",
      [](const Array<int64_t>& row_offsets, const Array<int32_t>& column_indices,
         const Array<float>& values, int32_t inputs, const Array<float>& bias,
         const Array<int32_t>& kept, const Array<int32_t>& classes, const Array<float>& constants) {
        const CsrView csr = csr_view(row_offsets, column_indices, values, inputs);
        require(bias.size() == size_t(csr.outputs), "bias must have one value per row");
        require(classes.size() == size_t(inputs) && constants.size() == size_t(inputs),
                "classes and constants must have one value per input");
        for (size_t i = 0; i < kept.size(); ++i) {
          require(kept.data()[i] >= 0 && kept.data()[i] < csr.outputs,
                  "kept names a row outside the matrix");
        }
        FoldedCsr folded;
        {
          nb::gil_scoped_release released;
          folded = fold_columns(csr, bias.data(), kept.data(), int32_t(kept.size()), classes.data(),
                                constants.data());
        }
        return std::make_tuple(
            to_numpy(std::move(folded.row_offsets)), to_numpy(std::move(folded.column_indices)),
            to_numpy(std::move(folded.values)), to_numpy(std::move(folded.bias)));
      },
      nb::arg("row_offsets").noconvert(), nb::arg("column_indices").noconvert(),
      nb::arg("values").noconvert(), nb::arg("inputs"), nb::arg("bias").noconvert(),
      nb::arg("kept").noconvert(), nb::arg("classes").noconvert(),
      nb::arg("constants").noconvert());
}
