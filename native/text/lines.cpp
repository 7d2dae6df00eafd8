#include <charconv>
#include <limits>
#include <stdexcept>

#include "text/text.h"

namespace espalier {

namespace {

// Longest line: two indices of 10 digits, a float32 of 15 characters, two tabs and a newline.
constexpr size_t kLongestEntry = 40;

char* write_index(char* to, int64_t index) { return std::to_chars(to, to + 20, index).ptr; }

// The shortest text that reads back as the same float32, kept while the value stays the same.
class ValueText {
 public:
  char* write(char* to, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (!size_ || bits != bits_) {
      size_ = static_cast<size_t>(std::to_chars(text_, text_ + sizeof text_, value).ptr - text_);
      bits_ = bits;
    }
    std::memcpy(to, text_, size_);
    return to + size_;
  }

 private:
  char text_[24];
  size_t size_ = 0;
  uint32_t bits_ = 0;
};

}  // namespace

std::vector<int64_t> parse_indices(const char* text, size_t size) {
  std::vector<int64_t> indices;
  int64_t line = 0;
  int64_t blank_line = 0;
  const auto fail = [&](int64_t number, const std::string& reason) {
    throw std::invalid_argument("line " + std::to_string(number) + ": " + reason);
  };
  for (const char *p = text, *end = text + size; p != end;) {
    ++line;
    const char* newline =
        static_cast<const char*>(std::memchr(p, '\n', static_cast<size_t>(end - p)));
    const char* stop = newline ? newline : end;
    const char* last = stop != p && stop[-1] == '\r' ? stop - 1 : stop;
    if (p == last) {
      if (!blank_line) blank_line = line;
    } else {
      if (blank_line) fail(blank_line, "is blank, but numbers follow it");
      int64_t index = 0;
      const auto [rest, error] = std::from_chars(p, last, index);
      const std::string field(p, last - p < 40 ? last : p + 40);
      if (rest != last) fail(line, "'" + field + "' is not an integer");
      if (error != std::errc() || index < 1) {
        fail(line, "'" + field + "' lies below 1 or is too large, and files count from 1");
      }
      indices.push_back(index - 1);
    }
    p = newline ? newline + 1 : end;
  }
  return indices;
}

std::string format_entries(LineFormat format, const int64_t* row_offsets, int64_t rows,
                           const int32_t* column_indices, const float* values, int64_t row_number) {
  std::string text;
  ValueText value_text;
  for (int64_t row = 0; row < rows; ++row, ++row_number) {
    const size_t used = text.size();
    const int64_t count = row_offsets[row + 1] - row_offsets[row];
    text.resize(used + static_cast<size_t>(count) * kLongestEntry);
    char* to = text.data() + used;
    for (int64_t i = row_offsets[row]; i < row_offsets[row + 1]; ++i) {
      const int64_t column = column_indices[i] + int64_t{1};
      to = write_index(to, format.row_first ? row_number : column);
      *to++ = '\t';
      to = write_index(to, format.row_first ? column : row_number);
      if (format.has_value) {
        *to++ = '\t';
        to = value_text.write(to, values[i]);
      }
      *to++ = '\n';
    }
    text.resize(static_cast<size_t>(to - text.data()));
  }
  return text;
}

std::string format_indices(const int64_t* indices, int64_t count) {
  std::string text;
  char number[24];
  for (int64_t i = 0; i < count; ++i) {
    text.append(number, write_index(number, indices[i] + 1));
    text += '\n';
  }
  return text;
}

}  // namespace espalier
