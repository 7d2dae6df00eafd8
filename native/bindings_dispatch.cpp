#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "bindings.h"
#include "dispatch.h"

using namespace espalier;

void bind_dispatch(nb::module_& module) {
  module.def(
      "instruction_sets",
      [] {
        std::vector<std::tuple<std::string, std::string, bool>> sets;
        for (const KernelTable* table : kernel_tables()) {
          sets.emplace_back(table->name, table->description, table->supported());
        }
        return sets;
      },
      "Name, needs and availability of every instruction set compiled in, fastest first.");
  module.def("instruction_set", [] { return std::string(kernels().name); });
  module.def("use_instruction_set", &use_kernels, nb::arg("name"));
  module.def("thread_count", &thread_count, nb::arg("asked") = 0);
}
