// Sparse samples times input-major weights: only the non-zeros of a sample are touched.
//
// Inputs rise and every sum starts at 0, so the order of additions, and with it every bit of the
// result, is that of `spmm`, where the zeros of a sample add nothing.

template <bool OneEach, typename Index>
static bool scatter_entries(const InputMajorView& weights, const Index* columns,
                            const float* values, int64_t nonzeros, float* sums) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < nonzeros; ++i) {
    if (uint64_t(columns[i]) >= uint64_t(weights.inputs)) return false;
    const float value = values[i];
    const uint32_t size = magnitude(value);
    largest = size > largest ? size : largest;
    const Entry* entry = weights.entries + (OneEach ? columns[i] : weights.offsets[columns[i]]);
    const Entry* end = OneEach ? entry + 1 : weights.entries + weights.offsets[columns[i] + 1];
    for (; entry < end; ++entry) {
      sums[entry->index] = multiply_add(entry->weight, value, sums[entry->index]);
    }
  }
  return largest < infinity_bits;
}

template <typename Index>
static bool scatter(const InputMajorView& weights, const Index* columns, const float* values,
                    int64_t nonzeros, float* sums) {
  return weights.one_each ? scatter_entries<true>(weights, columns, values, nonzeros, sums)
                          : scatter_entries<false>(weights, columns, values, nonzeros, sums);
}

static bool finish_row(float* sums, const float* bias, int64_t outputs, float lower, float upper) {
  const vec low = set1(lower), high = set1(upper);
  vec alive = set1(0.0f);
  int64_t i = 0;
  for (; i + width <= outputs; i += width) {
    const vec result = clamp(add(load(sums + i), load(bias + i)), low, high);
    store(sums + i, result);
    alive = or_bits(alive, result);
  }
  float lanes[width];
  store(lanes, alive);
  bool any = false;
  for (float lane : lanes) any |= lane != 0.0f;
  for (; i < outputs; ++i) {
    float value = sums[i] + bias[i];
    value = lower > value ? lower : value;
    value = upper < value ? upper : value;
    sums[i] = value;
    any |= value != 0.0f;
  }
  return any;
}
