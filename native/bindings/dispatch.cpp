// Instruction sets, threads and the ceilings of the machine.
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <tuple>

#include "bindings/bindings.h"
#include "isa/dispatch.h"
#include "memory/buffer.h"

using namespace espalier;

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Multiply-adds per second of `threads` threads, registers only.
double peak_multiply_adds(int threads, double seconds) {
  const KernelTable& table = kernels();
  const int64_t rounds = 200000;
  double total = 0.0;
  const int count = thread_count(threads);
  nb::gil_scoped_release released;
  const auto start = Clock::now();
#pragma omp parallel for num_threads(count) schedule(static, 1) reduction(+ : total)
  for (int t = 0; t < count; ++t) {
    do {
      total += table.multiply_adds(rounds);
    } while (since(start) < seconds);
  }
  return total / since(start);
}

// Bytes per second that `threads` threads read from an array of `bytes` bytes.
double peak_bandwidth(int threads, int64_t bytes, double seconds) {
  require(bytes >= 4096, "bytes must be at least 4096");
  const int count = thread_count(threads);
  const int64_t floats = bytes / int64_t(sizeof(float)) / count;
  Buffer data(size_t(floats) * count);
  std::fill_n(data.data(), size_t(floats) * count, 1.0f);
  const KernelTable& table = kernels();
  double total = 0.0;
  float sink = 0.0f;
  nb::gil_scoped_release released;
  const auto start = Clock::now();
#pragma omp parallel for num_threads(count) schedule(static, 1) reduction(+ : total, sink)
  for (int t = 0; t < count; ++t) {
    do {
      sink += table.read_floats(data.data() + t * floats, floats);
      total += double(floats) * sizeof(float);
    } while (since(start) < seconds);
  }
  return sink < 0.0f ? 0.0 : total / since(start);
}

}  // namespace

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
  module.def("peak_multiply_adds", &peak_multiply_adds, nb::arg("threads"), nb::arg("seconds"));
  module.def("peak_bandwidth", &peak_bandwidth, nb::arg("threads"), nb::arg("bytes"),
             nb::arg("seconds"));
  module.def("thread_count", &thread_count, nb::arg("asked") = 0);
}
