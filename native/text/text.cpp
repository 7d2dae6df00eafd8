#include "text/text.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace espalier {

namespace {

constexpr size_t kLongestLine = 4096;
constexpr uint32_t kLargestIndex = std::numeric_limits<int32_t>::max();
constexpr ptrdiff_t kIndexDigits = 10;  // of the largest index

bool is_digit(char c) { return static_cast<unsigned char>(c - '0') <= 9; }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

void skip_blanks(const char*& p) {
  while (is_blank(*p)) ++p;
}

uint64_t load_word(const char* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// The field at p, cut to a length that suits a message; bytes that are no text as \xNN.
std::string field_at(const char* p) {
  constexpr char digits[] = "0123456789abcdef";
  const char* end = p + 40;
  std::string field;
  for (; p < end && !is_blank(*p) && *p != '\n' && *p != '\r'; ++p) {
    const auto byte = static_cast<unsigned char>(*p);
    if (byte >= 0x20 && byte < 0x7f) {
      field += *p;
    } else {
      field += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return field;
}

// The number whose digits start at p, moved behind them, by arithmetic on eight characters at once:
// lengths vary from line to line, and a loop would mispredict its end. Does not move p where there
// are no digits or more than seven. Eight characters must be readable.
uint64_t parse_digits(const char*& p) {
  static_assert(std::endian::native == std::endian::little, "the first character is the low byte");
  uint64_t digits = load_word(p) ^ 0x3030303030303030;
  const uint64_t others = ((digits + 0x7676767676767676) | digits) & 0x8080808080808080;
  const int bits = std::countr_zero(others) & ~7;
  if (bits == 0 || bits == 64) return 0;
  p += bits / 8;
  digits <<= 64 - bits;
  digits = (digits * 10 + (digits >> 8)) & 0x00ff00ff00ff00ff;
  digits = (digits * 100 + (digits >> 16)) & 0x0000ffff0000ffff;
  return (digits * 10000 + (digits >> 32)) & 0xffffffff;
}

// Whether a number beyond the range of float32 is below it, so that it rounds to zero. The double
// tells, unless it is beyond its own range as well; then the sign of the exponent does, or the
// place of the point.
bool is_tiny(const std::string& text) {
  double wide = 0.0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), wide);
  if (error == std::errc()) return std::fabs(wide) < 1.0;
  const size_t exponent = text.find_first_of("eE");
  if (exponent != std::string::npos) return text[exponent + 1] == '-';
  return text.find('.') < text.find_first_of("123456789");
}

// The nearest float32; false where the field is no number. An infinite or NaN result is the
// caller's to refuse.
bool parse_float(const char*& p, const char* end, float& value) {
  const char* start = p + (*p == '+' && p[1] != '-');
  auto [stop, error] = std::from_chars(start, end, value);
  if (error == std::errc::invalid_argument) return false;
  if (error == std::errc::result_out_of_range) {
    value = is_tiny(std::string(start, stop)) ? 0.0f : std::numeric_limits<float>::infinity();
  }
  p = stop;
  return true;
}

}  // namespace

EntryParser::EntryParser(LineFormat format, int64_t rows, int64_t columns, int64_t line)
    : format_(format),
      row_limit_(rows > 0 ? static_cast<uint32_t>(std::min<int64_t>(rows, kLargestIndex))
                          : kLargestIndex),
      column_limit_(columns > 0 ? static_cast<uint32_t>(std::min<int64_t>(columns, kLargestIndex))
                                : kLargestIndex),
      line_(line) {}

void EntryParser::feed(const char* text, size_t size) {
  const char* end = text + size;
  if (!partial_.empty()) {
    const char* newline = static_cast<const char*>(std::memchr(text, '\n', size));
    const char* stop = newline ? newline + 1 : end;
    partial_.append(text, stop);
    if (!newline) {
      check_length(partial_.size());
      return;
    }
    const std::string line = std::move(partial_);
    partial_.clear();
    parse_whole_lines(line.data(), line.data() + line.size());
    text = stop;
  }
  const char* stop = end;
  while (stop != text && stop[-1] != '\n') --stop;
  parse_whole_lines(text, stop);
  check_length(static_cast<size_t>(end - stop));
  partial_.assign(stop, end);
}

void EntryParser::check_length(size_t size) {
  if (size <= kLongestLine) return;
  ++line_;
  fail("the line is too long to be an entry");
}

void EntryParser::finish() {
  if (partial_.empty()) return;
  const std::string line = std::move(partial_) + '\n';
  partial_.clear();
  parse_whole_lines(line.data(), line.data() + line.size());
}

// Every line from begin to end is complete, so that a scan for anything but a newline, which no
// field contains, stops inside the text.
void EntryParser::parse_whole_lines(const char* begin, const char* end) {
  if (begin == end) return;
  const size_t shortest_line = format_.has_value ? 6 : 4;
  const size_t most = entries_ + (end - begin) / shortest_line + 1;
  columns_.reserve(most);
  values_.reserve(most);
  if (format_.row_first) {
    format_.has_value ? parse_lines<true, true>(begin, end) : parse_lines<true, false>(begin, end);
  } else {
    format_.has_value ? parse_lines<false, true>(begin, end)
                      : parse_lines<false, false>(begin, end);
  }
}

template <bool kRowFirst, bool kHasValue>
void EntryParser::parse_lines(const char* p, const char* end) {
  int32_t* columns = columns_.data_at(static_cast<size_t>(entries_));
  float* values = values_.data_at(static_cast<size_t>(entries_));
  uint32_t column = column_;
  uint32_t largest_column = largest_column_;
  for (; p != end; ++columns, ++values) {
    ++line_;
    if (!is_digit(*p)) [[unlikely]] {
      if (skip_blank_line(p)) {
        --columns, --values;
        continue;
      }
    }
    if (blank_line_) [[unlikely]]
      fail_blank();
    const uint32_t column_before = column;
    uint32_t row;
    if constexpr (kRowFirst) {
      row = read_index(p, end, row_limit_);
      column = read_index(p, end, column_limit_);
      kHasValue ? read_value(p, end) : end_line(p);
    } else {
      column = read_index(p, end, column_limit_);
      if (row_memo_.matches(p, end)) {
        row = row_;
        p += row_memo_.size;
      } else {
        const char* tail = p;
        row = read_index(p, end, row_limit_);
        kHasValue ? read_value(p, end) : end_line(p);
        row_memo_.remember(tail, p, end);
      }
    }
    *columns = static_cast<int32_t>(column - 1);
    *values = value_;
    largest_column = std::max(largest_column, column);
    if (row != row_) {
      entries_ = columns - columns_.data();
      begin_run(row);
    } else if (column <= column_before) [[unlikely]] {
      if (column == column_before) fail_duplicate(row, column, true);
      columns_rise_ = false;
    }
  }
  column_ = column;
  largest_column_ = largest_column;
  entries_ = columns - columns_.data();
}

inline bool EntryParser::Memo::matches(const char* p, const char* end) const {
  if (end - p < kWords * 8) return false;
  uint64_t differs = 0;
  for (int word = 0; word < kWords; ++word) {
    differs |= (load_word(p + 8 * word) & mask[word]) ^ text[word];
  }
  return !differs && size;
}

void EntryParser::Memo::remember(const char* start, const char* stop, const char* end) {
  size = 0;
  if (stop - start > kWords * 8 || end - start < kWords * 8) return;
  size = static_cast<uint32_t>(stop - start);
  for (int word = 0; word < kWords; ++word) {
    const int bytes = std::clamp(static_cast<int>(size) - 8 * word, 0, 8);
    char ones[8] = {};
    std::memset(ones, 0xff, static_cast<size_t>(bytes));
    mask[word] = load_word(ones);
    text[word] = load_word(start + 8 * word) & mask[word];
  }
}

bool EntryParser::skip_blank_line(const char*& p) {
  const char* start = p;
  skip_blanks(p);
  if (*p == '\r') ++p;
  if (*p != '\n') {
    p = start;
    skip_blanks(p);
    return false;
  }
  ++p;
  if (!blank_line_) blank_line_ = line_;
  return true;
}

inline uint32_t EntryParser::read_index(const char*& p, const char* end, uint32_t limit) {
  const char* start = p;
  const uint64_t index = end - p >= 8 ? parse_digits(p) : 0;
  // Zero wraps around and fails the same comparison as an index above the limit.
  if (p == start || index - 1 >= limit || !is_blank(*p)) [[unlikely]] {
    p = start;
    return read_any_index(p, limit);
  }
  skip_blanks(p);
  return static_cast<uint32_t>(index);
}

uint32_t EntryParser::read_any_index(const char*& p, uint32_t limit) const {
  const char* start = p;
  uint64_t index = 0;
  for (; is_digit(*p); ++p) index = 10 * index + static_cast<uint64_t>(*p - '0');
  const bool ends = is_blank(*p) || *p == '\n' || *p == '\r';
  if (p == start || p - start > kIndexDigits || index - 1 >= limit || !ends) {
    fail_index(start, limit);
  }
  skip_blanks(p);
  return static_cast<uint32_t>(index);
}

inline void EntryParser::read_value(const char*& p, const char* end) {
  if (value_memo_.matches(p, end)) {
    p += value_memo_.size;
    return;
  }
  const char* start = p;
  if (*p == '\n' || *p == '\r') fail("lacks its value, wanted `index index value`");
  if (!parse_float(p, end, value_) || !(is_blank(*p) || *p == '\n' || *p == '\r')) {
    fail("value '" + field_at(start) + "' is not a number");
  }
  if (!std::isfinite(value_)) fail("value '" + field_at(start) + "' is not finite in float32");
  end_line(p);
  value_memo_.remember(start, p, end);
}

inline void EntryParser::end_line(const char*& p) {
  if (*p != '\n') [[unlikely]] {
    skip_blanks(p);
    if (*p == '\r') ++p;
    if (*p != '\n') {
      fail("'" + field_at(p) + "' is one field too many, wanted " +
           (format_.has_value ? "`index index value`" : "`index index`"));
    }
  }
  ++p;
}

void EntryParser::begin_run(uint32_t row) {
  rows_rise_ = rows_rise_ && row > row_;
  largest_row_ = std::max(largest_row_, row);
  runs_.push_back({static_cast<int32_t>(row - 1), entries_});
  row_ = row;
}

void EntryParser::fail(const std::string& reason) const {
  throw std::invalid_argument("line " + std::to_string(line_) + ": " + reason);
}

void EntryParser::fail_blank() {
  line_ = blank_line_;
  fail("is blank, but entries follow it");
}

void EntryParser::fail_index(const char* field, uint32_t limit) const {
  if (*field == '\n' || *field == '\r') {
    fail(std::string("a field is missing, wanted ") +
         (format_.has_value ? "`index index value`" : "`index index`"));
  }
  const char* digits = field + (*field == '-' || *field == '+');
  const char* end = digits;
  while (is_digit(*end)) ++end;
  const bool integer = end != digits && (is_blank(*end) || *end == '\n' || *end == '\r');
  if (!integer) fail("'" + field_at(field) + "' is not an index, wanted an integer");
  fail("index " + field_at(field) + " lies outside 1 ... " + std::to_string(limit) +
       ", and files count from 1");
}

void EntryParser::fail_duplicate(int64_t row, int64_t column, bool at_line) const {
  const int64_t first = format_.row_first ? row : column;
  const int64_t second = format_.row_first ? column : row;
  const std::string reason =
      "the entry " + std::to_string(first) + " " + std::to_string(second) + " appears twice";
  if (at_line) fail(reason);
  throw std::invalid_argument(reason);
}

}  // namespace espalier
