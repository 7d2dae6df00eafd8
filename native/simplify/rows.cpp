#include "simplify/rows.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace espalier {

namespace {

uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
  return hash ^ (hash >> 29);
}

uint32_t bits(float value) {
  uint32_t word;
  std::memcpy(&word, &value, sizeof(word));
  return word;
}

uint64_t hash_words(uint64_t hash, const void* data, int64_t words) {
  const unsigned char* bytes = static_cast<const unsigned char*>(data);
  int64_t i = 0;
  uint64_t lanes[4] = {hash, 1, 2, 3};  // independent, so that they overlap
  for (; i + 8 <= words; i += 8) {
    uint64_t block[4];
    std::memcpy(block, bytes + 4 * i, sizeof(block));
    for (int lane = 0; lane < 4; ++lane) lanes[lane] = mix(lanes[lane], block[lane]);
  }
  hash = mix(mix(lanes[0], lanes[1]), mix(lanes[2], lanes[3]));
  for (; i + 2 <= words; i += 2) {
    uint64_t word;
    std::memcpy(&word, bytes + 4 * i, sizeof(word));
    hash = mix(hash, word);
  }
  if (i < words) {
    uint32_t word;
    std::memcpy(&word, bytes + 4 * i, sizeof(word));
    hash = mix(hash, word);
  }
  return hash;
}

// Waking threads costs some microseconds: little work stays with one.
int threads_for(int64_t words, int threads) { return words < (1 << 18) ? 1 : threads; }

// Open addressing over row numbers; equal hashes are told apart by `equal`.
template <typename Row, typename Equal>
void first_of_each(const std::vector<uint64_t>& hashes, Equal equal, Row* first) {
  size_t size = 16;
  while (size < 2 * hashes.size()) size *= 2;
  std::vector<Row> table(size, Row(-1));
  for (size_t r = 0; r < hashes.size(); ++r) {
    size_t slot = hashes[r] & (size - 1);
    while (table[slot] >= 0 && !(hashes[table[slot]] == hashes[r] && equal(table[slot], Row(r)))) {
      slot = (slot + 1) & (size - 1);
    }
    if (table[slot] < 0) table[slot] = Row(r);
    first[r] = table[slot];
  }
}

}  // namespace

void first_equal_rows(const CsrView& csr, const float* bias, int32_t* first, int threads) {
  threads = threads_for(csr.row_offsets[csr.outputs], threads);
  std::vector<uint64_t> hashes(size_t(csr.outputs));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t r = 0; r < csr.outputs; ++r) {
    const int64_t begin = csr.row_offsets[r], count = csr.row_offsets[r + 1] - begin;
    uint64_t hash = hash_words(uint64_t(count), csr.column_indices + begin, count);
    if (bias) hash = mix(hash_words(hash, csr.values + begin, count), bits(bias[r]));
    hashes[r] = hash ^ (hash >> 32);
  }
  first_of_each<int32_t>(
      hashes,
      [&](int32_t a, int32_t b) {
        const int64_t i = csr.row_offsets[a], j = csr.row_offsets[b];
        const int64_t count = csr.row_offsets[a + 1] - i;
        if (count != csr.row_offsets[b + 1] - j) return false;
        if (!std::equal(csr.column_indices + i, csr.column_indices + i + count,
                        csr.column_indices + j)) {
          return false;
        }
        return !bias || (bits(bias[a]) == bits(bias[b]) &&
                         std::equal(csr.values + i, csr.values + i + count, csr.values + j,
                                    [](float x, float y) { return bits(x) == bits(y); }));
      },
      first);
}

void first_equal_samples(const float* matrix, const int64_t* index, int64_t count, int64_t width,
                         int64_t* first, int threads) {
  threads = threads_for(count * width, threads);
  std::vector<uint64_t> hashes(size_t(count), 0);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t hash = hash_words(0, matrix + index[i] * width, width);
    hashes[i] = hash ^ (hash >> 32);
  }
  first_of_each<int64_t>(
      hashes,
      [&](int64_t a, int64_t b) {
        return width == 0 || std::memcmp(matrix + index[a] * width, matrix + index[b] * width,
                                         size_t(width) * sizeof(float)) == 0;
      },
      first);
}

void classify_samples(const float* matrix, const int64_t* index, int64_t count, int64_t width,
                      float constant, uint8_t* kind, int threads) {
  threads = threads_for(count * width, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    const float* row = matrix + index[i] * width;
    const auto all = [&](float value) {
      return std::all_of(row, row + width, [value](float x) { return x == value; });
    };
    kind[i] = all(0.0f) ? 1 : all(constant) ? 2 : 0;
  }
}

FoldedCsr fold_columns(const CsrView& csr, const float* bias, const int32_t* kept, int32_t count,
                       const int32_t* classes, const float* constants) {
  FoldedCsr folded;
  folded.row_offsets.push_back(0);
  std::vector<std::pair<int32_t, double>> terms;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t row = kept[i];
    double moved = bias[row];
    terms.clear();
    for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
      const int32_t column = csr.column_indices[k];
      if (classes[column] < 0) {
        moved += double(csr.values[k]) * constants[column];
      } else {
        terms.emplace_back(classes[column], csr.values[k]);
      }
    }
    std::stable_sort(terms.begin(), terms.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t t = 0; t < terms.size();) {
      const int32_t column = terms[t].first;
      double sum = 0.0;
      for (; t < terms.size() && terms[t].first == column; ++t) sum += terms[t].second;
      folded.column_indices.push_back(column);
      folded.values.push_back(float(sum));
    }
    folded.row_offsets.push_back(int64_t(folded.values.size()));
    folded.bias.push_back(float(moved));
  }
  return folded;
}

}  // namespace espalier
