#include "inference/spgemm.h"

#include <algorithm>

#include "isa/dispatch.h"

namespace espalier {

namespace {

// First row of thread t when rows are split by their non-zeros.
int64_t first_row(const SparseRows& samples, int t, int threads) {
  const int64_t target = samples.row_offsets.back() * t / threads;
  const int64_t rows = int64_t(samples.row_offsets.size()) - 1;
  if (t >= threads) return rows;
  const auto begin = samples.row_offsets.begin();
  return std::min<int64_t>(rows,
                           std::lower_bound(begin, samples.row_offsets.end(), target) - begin);
}

void append_nonzeros(const float* sums, int64_t outputs, SparseRows& part) {
  const size_t before = part.values.size();
  part.values.resize(before + outputs);
  part.column_indices.resize(before + outputs);
  float* values = part.values.data() + before;
  int32_t* columns = part.column_indices.data() + before;
  int64_t count = 0;
  for (int64_t i = 0; i < outputs; ++i) {
    values[count] = sums[i];
    columns[count] = int32_t(i);
    count += sums[i] != 0.0f;
  }
  part.values.resize(before + count);
  part.column_indices.resize(before + count);
  part.row_offsets.push_back(int64_t(part.values.size()));
}

void join(const std::vector<SparseRows>& parts, int threads, SparseRows& out) {
  out.row_offsets.assign(1, 0);
  int64_t total = 0;
  for (int t = 0; t < threads; ++t) {
    for (size_t r = 1; r < parts[t].row_offsets.size(); ++r) {
      out.row_offsets.push_back(total + parts[t].row_offsets[r]);
    }
    total += parts[t].row_offsets.back();
  }
  out.column_indices.resize(size_t(total));
  out.values.resize(size_t(total));
  int64_t place = 0;
  for (int t = 0; t < threads; ++t) {
    std::copy(parts[t].column_indices.begin(), parts[t].column_indices.end(),
              out.column_indices.begin() + place);
    std::copy(parts[t].values.begin(), parts[t].values.end(), out.values.begin() + place);
    place += int64_t(parts[t].values.size());
  }
}

}  // namespace

void Workspace::fit(int threads, int64_t outputs) {
  if (int(sums.size()) < threads || width < outputs) {
    sums.clear();
    for (int t = 0; t < threads; ++t) sums.emplace_back(size_t(outputs));
    width = outputs;
  }
  if (int(parts.size()) < threads) parts.resize(threads);
}

void spgemm(const SparseRows& samples, const PackedLayer& layer, const InputMajor& weights,
            Workspace& workspace, SparseRows& out, int threads) {
  const LayerView& view = layer.view();
  workspace.fit(threads, view.outputs);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int t = 0; t < threads; ++t) {
    SparseRows& part = workspace.parts[t];
    part.row_offsets.assign(1, 0);
    part.column_indices.clear();
    part.values.clear();
    float* sums = workspace.sums[t].data();
    const int64_t end = first_row(samples, t + 1, threads);
    for (int64_t r = first_row(samples, t, threads); r < end; ++r) {
      std::fill_n(sums, size_t(view.outputs), 0.0f);
      const int64_t from = samples.row_offsets[r];
      kernels().scatter_i32(weights.view(), samples.column_indices.data() + from,
                            samples.values.data() + from, samples.row_offsets[r + 1] - from, sums);
      kernels().finish_row(sums, view.bias, view.outputs, view.lower, view.upper);
      append_nonzeros(sums, view.outputs, part);
    }
  }
  join(workspace.parts, threads, out);
}

int64_t spgemm_count(const SparseRows& samples, const InputMajor& weights, int64_t outputs,
                     int threads) {
  const InputMajorView view = weights.view();
  int64_t total = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : total)
  for (int t = 0; t < threads; ++t) {
    std::vector<uint8_t> met(size_t(outputs), 0);
    const int64_t end = first_row(samples, t + 1, threads);
    for (int64_t r = first_row(samples, t, threads); r < end; ++r) {
      std::fill(met.begin(), met.end(), uint8_t(0));
      for (int64_t k = samples.row_offsets[r]; k < samples.row_offsets[r + 1]; ++k) {
        const int32_t input = samples.column_indices[k];
        for (int64_t e = view.offsets[input]; e < view.offsets[input + 1]; ++e) {
          met[view.entries[e].index] = 1;
        }
      }
      for (uint8_t mark : met) total += mark;
    }
  }
  return total;
}

void drop_empty_rows(SparseRows& samples, std::vector<int64_t>& ids) {
  size_t kept = 0;
  for (size_t r = 0; r + 1 < samples.row_offsets.size(); ++r) {
    if (samples.row_offsets[r + 1] == samples.row_offsets[r]) continue;
    ids[kept] = ids[r];
    samples.row_offsets[++kept] = samples.row_offsets[r + 1];
  }
  ids.resize(kept);
  samples.row_offsets.resize(kept + 1);
}

}  // namespace espalier
