// Text of sparse matrices, one entry a line, `index index [value]`, indices counted from 1.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};
template <typename T>
using Owned = std::unique_ptr<T[], FreeMemory>;

// A growing array. It grows by realloc, which moves the pages of a large array instead of copying
// them: a matrix that fills half the memory can still grow.
template <typename T>
class GrowingArray {
 public:
  void reserve(size_t wanted) {
    if (wanted > capacity_) resize(wanted > 2 * capacity_ ? wanted : 2 * capacity_);
  }
  T* data() { return memory_.get(); }
  T* data_at(size_t position) { return memory_.get() + position; }

  // Gives away the first `size` elements and forgets them.
  Owned<T> release(size_t size) {
    resize(size ? size : 1);
    capacity_ = 0;
    return std::move(memory_);
  }

 private:
  void resize(size_t capacity) {
    void* moved = std::realloc(memory_.get(), capacity * sizeof(T));
    if (!moved) throw std::bad_alloc();
    (void)memory_.release();
    memory_.reset(static_cast<T*>(moved));
    capacity_ = capacity;
  }

  Owned<T> memory_;
  size_t capacity_ = 0;
};

// What a line holds.
struct LineFormat {
  bool row_first;  // row column [value], else column row [value]
  bool has_value;  // without one every value is 1
};

// A matrix in CSR form, rows and columns counted from 0, columns rising within each row.
struct CsrMatrix {
  Owned<int64_t> row_offsets;     // rows + 1
  Owned<int32_t> column_indices;  // nonzeros
  Owned<float> values;            // nonzeros
  int64_t rows;
  int64_t nonzeros;
};

// Parses text that arrives in chunks. Errors are std::invalid_argument, "line 7: reason".
class EntryParser {
 public:
  // Indices above `rows` and `columns` are refused; 0 means any int32. `line` is the number of
  // lines that came before the first chunk.
  EntryParser(LineFormat format, int64_t rows, int64_t columns, int64_t line);

  void feed(const char* text, size_t size);
  void finish();  // the text ended; its last line may lack a newline

  int64_t entries() const { return entries_; }
  int64_t largest_row() const { return largest_row_; }        // counted from 1, 0 without entries
  int64_t largest_column() const { return largest_column_; }  // likewise

  // Hands over the matrix, once. Needs `rows >= largest_row()`.
  CsrMatrix take(int64_t rows);

 private:
  // Consecutive entries of one row, from entry `start` to the start of the next run. A file sorted
  // by row has one run a row, and its entries lie in CSR order as they are read.
  struct Run {
    int32_t row;
    int64_t start;
  };

  // The end of the last line, from some field up to and with its newline. Where the next line ends
  // alike, its fields are known without parsing them.
  struct Memo {
    static constexpr int kWords = 3;
    uint64_t text[kWords] = {};
    uint64_t mask[kWords] = {~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}};
    uint32_t size = 0;

    bool matches(const char* p, const char* end) const;
    void remember(const char* start, const char* stop, const char* end);
  };

  template <bool kRowFirst, bool kHasValue>
  void parse_lines(const char* p, const char* end);
  void parse_whole_lines(const char* begin, const char* end);
  void check_length(size_t size);
  bool skip_blank_line(const char*& p);
  uint32_t read_index(const char*& p, const char* end, uint32_t limit);
  uint32_t read_any_index(const char*& p, uint32_t limit) const;
  void read_value(const char*& p, const char* end);
  void end_line(const char*& p);
  void begin_run(uint32_t row);
  [[noreturn]] void fail(const std::string& reason) const;
  [[noreturn]] void fail_blank();
  [[noreturn]] void fail_index(const char* field, uint32_t limit) const;
  [[noreturn]] void fail_duplicate(int64_t row, int64_t column, bool at_line) const;
  void sort_rows(CsrMatrix& matrix);
  void sort_columns(CsrMatrix& matrix) const;

  LineFormat format_;
  uint32_t row_limit_;
  uint32_t column_limit_;
  int64_t line_;            // the current one, in messages
  int64_t blank_line_ = 0;  // the first blank line, 0 for none: only blank lines may follow
  std::string partial_;     // the unfinished last line of the chunks so far
  Memo value_memo_;         // of the value
  float value_ = 1.0f;
  Memo row_memo_;  // of row and value, for lines that end in both

  std::vector<Run> runs_;
  GrowingArray<int32_t> columns_;
  GrowingArray<float> values_;
  int64_t entries_ = 0;
  uint32_t row_ = 0;     // of the last entry, from 1
  uint32_t column_ = 0;  // likewise
  uint32_t largest_row_ = 0;
  uint32_t largest_column_ = 0;
  bool rows_rise_ = true;
  bool columns_rise_ = true;
  bool taken_ = false;
};

// One index a line, counted from 1 in the text and from 0 in the result.
std::vector<int64_t> parse_indices(const char* text, size_t size);

// The lines of a CSR matrix: rows in order, `row_number` (from 1) for the first of them.
// `row_offsets` holds `rows + 1` absolute positions in `column_indices` and `values`.
std::string format_entries(LineFormat format, const int64_t* row_offsets, int64_t rows,
                           const int32_t* column_indices, const float* values, int64_t row_number);

std::string format_indices(const int64_t* indices, int64_t count);

}  // namespace espalier
