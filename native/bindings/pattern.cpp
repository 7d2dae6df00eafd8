// Products with a fixed pattern of non-zeros.
#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings/bindings.h"
#include "isa/dispatch.h"
#include "pattern/pattern.h"

using namespace espalier;

namespace {

template <typename T>
using Strided = nb::ndarray<T, nb::numpy, nb::ndim<2>, nb::device::cpu>;
using Values = std::optional<Array<float>>;
using NewValues = std::optional<Output<float>>;

// [batch, features], contiguous one way or the other.
template <typename T>
BatchView<T> batch_view(const Strided<T>& array, int64_t batch, int64_t features) {
  require(int64_t(array.shape(0)) == batch && int64_t(array.shape(1)) == features,
          "samples have the wrong shape");
  if (!batch || !features) return {array.data(), batch, features, false, features};
  if (batch > 1 && features > 1) {
    require(array.stride(0) == 1 || array.stride(1) == 1,
            "samples must be contiguous along one dimension");
  }
  const bool by_row = array.stride(1) == 1 || features == 1;
  // One sample is a row, however far apart its features lie.
  if (by_row && (features == 1 || batch == 1 || array.stride(0) >= features)) {
    return {array.data(), batch, features, false, array.stride(0)};
  }
  require(batch == 1 || array.stride(0) == 1, "samples overlap in memory");
  require(features == 1 || array.stride(1) >= batch, "samples overlap in memory");
  return {array.data(), batch, features, true, array.stride(1)};
}

const float* values_of(const Pattern& pattern, const Values& values) {
  require(!values || int64_t(values->size()) == pattern.nonzeros(),
          "values must have one number for each non-zero");
  return values ? values->data() : nullptr;
}

}  // namespace

void bind_pattern(nb::module_& module) {
  nb::class_<Pattern>(module, "Pattern")
      .def(
          "__init__",
          [](Pattern* self, const Array<int64_t>& row_offsets, const Array<int32_t>& column_indices,
             int64_t columns) {
            require(row_offsets.size() >= 1, "row_offsets is empty");
            require(columns >= 0 && columns <= INT32_MAX && row_offsets.size() - 1 <= INT32_MAX,
                    "a pattern has at most 2**31 - 1 rows and columns");
            nb::gil_scoped_release released;
            new (self) Pattern(row_offsets.data(), int64_t(row_offsets.size()) - 1,
                               column_indices.data(), int64_t(column_indices.size()), columns);
          },
          nb::arg("row_offsets").noconvert(), nb::arg("column_indices").noconvert(),
          nb::arg("columns"))
      .def_prop_ro("rows", &Pattern::rows)
      .def_prop_ro("columns", &Pattern::columns)
      .def_prop_ro("nonzeros", &Pattern::nonzeros)
      .def(
          "describes",
          [](const Pattern& self, const Array<int64_t>& row_offsets,
             const Array<int32_t>& column_indices) {
            return self.describes(row_offsets.data(), int64_t(row_offsets.size()) - 1,
                                  column_indices.data(), int64_t(column_indices.size()));
          },
          nb::arg("row_offsets").noconvert(), nb::arg("column_indices").noconvert())
      .def(
          "spmm",
          [](const Pattern& self, const Array<float>& values, const Strided<const float>& x,
             const Values& bias, const Strided<float>& y, int threads) {
            const int64_t batch = int64_t(x.shape(0));
            const auto from = batch_view(x, batch, self.columns());
            const auto to = batch_view(y, batch, self.rows());
            require(!bias || int64_t(bias->size()) == self.rows(),
                    "bias must have one number for each row");
            const float* numbers = values_of(self, values);
            nb::gil_scoped_release released;
            pattern_spmm(self, numbers, from, bias ? bias->data() : nullptr, to,
                         thread_count(threads));
          },
          nb::arg("values").noconvert(), nb::arg("x").noconvert(),
          nb::arg("bias").noconvert().none(), nb::arg("y").noconvert(), nb::arg("threads"))
      .def(
          "backward",
          [](const Pattern& self, const Values& values,
             const std::optional<Strided<const float>>& x, const Strided<const float>& dy,
             const std::optional<Strided<float>>& dx, const NewValues& dvalues,
             const NewValues& dbias, int threads) {
            const int64_t batch = int64_t(dy.shape(0));
            const auto gradient = batch_view(dy, batch, self.rows());
            std::optional<BatchView<const float>> inputs;
            if (x) inputs = batch_view(*x, batch, self.columns());
            std::optional<BatchView<float>> by_input;
            if (dx) by_input = batch_view(*dx, batch, self.columns());
            require(!dx || values, "dx needs values");
            require(!dvalues || x, "dvalues needs x");
            require(!dvalues || int64_t(dvalues->size()) == self.nonzeros(),
                    "dvalues must have one number for each non-zero");
            require(!dbias || int64_t(dbias->size()) == self.rows(),
                    "dbias must have one number for each row");
            const PatternGradients wanted{by_input ? &*by_input : nullptr,
                                          dvalues ? dvalues->data() : nullptr,
                                          dbias ? dbias->data() : nullptr};
            const float* numbers = values_of(self, values);
            nb::gil_scoped_release released;
            pattern_backward(self, numbers, inputs ? &*inputs : nullptr, gradient, wanted,
                             thread_count(threads));
          },
          nb::arg("values").noconvert().none(), nb::arg("x").noconvert().none(),
          nb::arg("dy").noconvert(), nb::arg("dx").noconvert().none(),
          nb::arg("dvalues").noconvert().none(), nb::arg("dbias").noconvert().none(),
          nb::arg("threads"));
}
