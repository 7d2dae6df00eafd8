// Each bindings_*.cpp adds its functions to the one extension module.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

// A C-contiguous host array of one dtype, never converted or copied on the way in.
template <typename T, size_t D = 1>
using Array = nb::ndarray<T, nb::numpy, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

void bind_dispatch(nb::module_& module);
void bind_text(nb::module_& module);
