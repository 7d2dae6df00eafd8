// Each file of this folder adds its functions to the one extension module.
//
// Arguments are checked here, once: wrong sizes and indices raise ValueError. The columns of
// users' samples are checked inside the kernels, which read them anyway.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "inference/layer.h"

namespace nb = nanobind;

// A C-contiguous host array of one dtype, never converted or copied on the way in.
template <typename T, size_t D = 1>
using Array = nb::ndarray<const T, nb::numpy, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
template <typename T, size_t D = 1>
using Output = nb::ndarray<T, nb::numpy, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// The three arrays of a CSR matrix with `inputs` columns; says nothing about indices.
inline espalier::CsrView samples_view(const Array<int64_t>& row_offsets,
                                      const Array<int32_t>& column_indices,
                                      const Array<float>& values, int32_t inputs) {
  require(row_offsets.size() >= 1, "row_offsets is empty");
  const int64_t nonzeros = row_offsets.data()[row_offsets.size() - 1];
  require(nonzeros >= 0 && size_t(nonzeros) == column_indices.size() &&
              size_t(nonzeros) == values.size(),
          "column_indices and values must have row_offsets[-1] entries");
  return {int32_t(row_offsets.size() - 1), inputs, row_offsets.data(), column_indices.data(),
          values.data()};
}

// The weights of a layer. espalier.Layer checked them, but it shares its arrays with whoever made
// it: they may have changed since.
inline espalier::CsrView csr_view(const Array<int64_t>& row_offsets,
                                  const Array<int32_t>& column_indices, const Array<float>& values,
                                  int32_t inputs) {
  const espalier::CsrView csr = samples_view(row_offsets, column_indices, values, inputs);
  require(espalier::is_sound(csr), "columns must rise within each row, inside the matrix");
  return csr;
}

// A numpy array that owns what was a vector.
template <typename T>
nb::ndarray<nb::numpy, T, nb::ndim<1>> to_numpy(std::vector<T>&& vector) {
  auto* kept = new std::vector<T>(std::move(vector));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T, nb::ndim<1>>(kept->data(), {kept->size()}, owner);
}

void bind_dispatch(nb::module_& module);
void bind_segment(nb::module_& module);
void bind_panels(nb::module_& module);
void bind_pattern(nb::module_& module);
void bind_rows(nb::module_& module);
void bind_spgemm(nb::module_& module);
void bind_text(nb::module_& module);
void bind_zeroskip(nb::module_& module);
