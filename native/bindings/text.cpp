#include <nanobind/stl/string.h>

#include <algorithm>
#include <stdexcept>

#include "bindings/bindings.h"
#include "text/text.h"

using namespace espalier;
using namespace nb::literals;

namespace {

// Text as it comes from a file: bytes, bytearray, memoryview or a uint8 array.
using Text = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

const char* characters(const Text& text) { return reinterpret_cast<const char*>(text.data()); }

template <typename T>
nb::ndarray<T, nb::numpy, nb::ndim<1>> as_array(Owned<T> memory, int64_t size) {
  T* data = memory.release();
  nb::capsule owner(data, [](void* owned) noexcept { std::free(owned); });
  return {data, {static_cast<size_t>(size)}, owner};
}

nb::tuple take(EntryParser& parser, int64_t rows) {
  if (rows < parser.largest_row()) throw std::invalid_argument("rows lies below the largest row");
  CsrMatrix matrix;
  {
    nb::gil_scoped_release release;
    matrix = parser.take(rows);
  }
  return nb::make_tuple(as_array(std::move(matrix.row_offsets), matrix.rows + 1),
                        as_array(std::move(matrix.column_indices), matrix.nonzeros),
                        as_array(std::move(matrix.values), matrix.nonzeros));
}

nb::bytes entries_text(bool row_first, bool has_value, Array<const int64_t> row_offsets,
                       Array<const int32_t> column_indices, Array<const float> values,
                       int64_t row_number) {
  const size_t rows = row_offsets.size() - 1;
  const int64_t* offsets = row_offsets.data();
  const int64_t nonzeros = static_cast<int64_t>(std::min(column_indices.size(), values.size()));
  if (row_offsets.size() == 0 || offsets[0] < 0 || offsets[rows] > nonzeros ||
      !std::is_sorted(offsets, offsets + rows + 1)) {
    throw std::invalid_argument("row offsets must rise and stay within the entries");
  }
  std::string text;
  {
    nb::gil_scoped_release release;
    text = format_entries({row_first, has_value}, offsets, static_cast<int64_t>(rows),
                          column_indices.data(), values.data(), row_number);
  }
  return nb::bytes(text.data(), text.size());
}

}  // namespace

void bind_text(nb::module_& module) {
  nb::class_<EntryParser>(module, "EntryParser",
                          "Parses lines `index index [value]` that arrive in chunks into CSR.")
      .def(
          "__init__",
          [](EntryParser* self, bool row_first, bool has_value, int64_t rows, int64_t columns,
             int64_t line) { new (self) EntryParser({row_first, has_value}, rows, columns, line); },
          "row_first"_a, "has_value"_a, "rows"_a = 0, "columns"_a = 0, "line"_a = 0)
      .def("feed",
           [](EntryParser& self, const Text& chunk) {
             nb::gil_scoped_release release;
             self.feed(characters(chunk), chunk.size());
           })
      .def("finish", &EntryParser::finish)
      .def("take", &take, "rows"_a, "Row offsets, column indices and values; only once.",
           nb::sig("def take(self, rows: int) -> tuple[NDArray[numpy.int64], "
                   "NDArray[numpy.int32], NDArray[numpy.float32]]"))
      .def_prop_ro("entries", &EntryParser::entries)
      .def_prop_ro("largest_row", &EntryParser::largest_row)
      .def_prop_ro("largest_column", &EntryParser::largest_column);

  module.def("parse_indices", [](const Text& text) {
    const std::vector<int64_t> indices = parse_indices(characters(text), text.size());
    GrowingArray<int64_t> copy;
    copy.reserve(indices.size() + 1);
    std::copy(indices.begin(), indices.end(), copy.data());
    return as_array(copy.release(indices.size()), static_cast<int64_t>(indices.size()));
  });
  module.def("format_entries", &entries_text, "row_first"_a, "has_value"_a, "row_offsets"_a,
             "column_indices"_a, "values"_a, "row_number"_a = 1);
  module.def("format_indices", [](Array<const int64_t> indices) {
    const std::string text = format_indices(indices.data(), static_cast<int64_t>(indices.size()));
    return nb::bytes(text.data(), text.size());
  });
}
