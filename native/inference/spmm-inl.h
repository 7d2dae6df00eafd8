// spmm: sparse weights times panels of samples, bias, ReLU and clip fused.
//
// Two bodies. `multiply_rows` serves rows with columns of their own: the outputs of one row stay
// in registers while its entries stream by; each loaded activation feeds one multiply-add, so
// the L2 cache's bandwidth is the ceiling. `multiply_strip` serves rows that share columns: each
// loaded activation feeds up to `register_rows` rows, so the multiply-add units are the ceiling.

// Adds the bias, clamps, stores and marks the living lanes of one row.
template <int V>
static inline void store_outputs(const vec (&sum)[V], const LayerView& layer, int64_t row, float* y,
                                 int tile, vec (&alive)[V]) {
  const vec bias = set1(layer.bias[row]);
  const vec lower = set1(layer.lower), upper = set1(layer.upper);
  float* out = y + size_t(row) * tile;
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    const vec result = clamp(add(sum[v], bias), lower, upper);
    store(out + v * width, result);
    alive[v] = or_bits(alive[v], result);
  }
}

template <int V>
static inline void multiply_entry(const Entry& entry, const float* x, int shift, vec (&sum)[V]) {
  const vec weight = set1(entry.weight);
  const float* in = x + (size_t(entry.index) << shift);
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) sum[v] = multiply_add(weight, load(in + v * width), sum[v]);
}

// Entries of one iteration: rows of some tens of entries then end after few iterations, which the
// branch predictor learns.
constexpr int unroll = 4;

template <int V>
static void multiply_rows(const LayerView& layer, const float* x, float* y, int tile,
                          float* alive_lanes) {
  const RowSet& set = layer.rows;
  const int shift = __builtin_ctz(tile);
  vec alive[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) alive[v] = load(alive_lanes + v * width);

  const Entry* entry = set.entries;
  for (int64_t i = 0; i < set.count; ++i) {
    vec sum[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = set1(0.0f);
    const Entry* end = set.entries + set.offsets[i + 1];
    for (; entry + unroll <= end; entry += unroll) {
#pragma GCC unroll 4
      for (int u = 0; u < unroll; ++u) multiply_entry<V>(entry[u], x, shift, sum);
    }
    for (; entry < end; ++entry) multiply_entry<V>(*entry, x, shift, sum);
    store_outputs<V>(sum, layer, set.ids[i], y, tile, alive);
  }

#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) store(alive_lanes + v * width, alive[v]);
}

template <int R, int V>
static void multiply_strip(const LayerView& layer, const BlockStrip& strip, const int32_t* ahead,
                           int first_row, const float* x, float* y, int tile, float* alive_lanes) {
  vec sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[r][v] = set1(0.0f);
  }
  const int shift = __builtin_ctz(tile);
  const float* weights = strip.weights + first_row;
  for (int32_t k = 0; k < strip.columns; ++k, weights += strip_rows) {
    const float* in = x + (size_t(strip.column_ids[k]) << shift);
    vec value[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) value[v] = load(in + v * width);
    const float* later = x + (size_t(ahead[k]) << shift);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) __builtin_prefetch(later + v * width);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const vec weight = set1(weights[r]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(weight, value[v], sum[r][v]);
    }
  }
  vec alive[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) alive[v] = load(alive_lanes + v * width);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    store_outputs<V>(sum[r], layer, strip.row_ids[first_row + r], y, tile, alive);
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) store(alive_lanes + v * width, alive[v]);
}

template <int V>
static void multiply_rows_of_strip(int rows, const LayerView& layer, const BlockStrip& strip,
                                   const int32_t* ahead, int first, const float* x, float* y,
                                   int tile, float* alive) {
  switch (rows) {
    case 1:
      return multiply_strip<1, V>(layer, strip, ahead, first, x, y, tile, alive);
    case 2:
      return multiply_strip<2, V>(layer, strip, ahead, first, x, y, tile, alive);
#if !defined(ESPALIER_SCALAR)
    case 3:
      return multiply_strip<3, V>(layer, strip, ahead, first, x, y, tile, alive);
    case 4:
      return multiply_strip<4, V>(layer, strip, ahead, first, x, y, tile, alive);
#endif
#if defined(ESPALIER_AVX512)
    case 5:
      return multiply_strip<5, V>(layer, strip, ahead, first, x, y, tile, alive);
    case 6:
      return multiply_strip<6, V>(layer, strip, ahead, first, x, y, tile, alive);
    case 7:
      return multiply_strip<7, V>(layer, strip, ahead, first, x, y, tile, alive);
    case 8:
      return multiply_strip<8, V>(layer, strip, ahead, first, x, y, tile, alive);
#endif
  }
}

static void multiply_strips(const LayerView& layer, const float* x, float* y, int tile,
                            float* alive) {
  for (int64_t b = 0; b < layer.strip_count; ++b) {
    const BlockStrip& strip = layer.strips[b];
    const BlockStrip& next = layer.strips[b + 1 < layer.strip_count ? b + 1 : b];
    const int32_t* ahead = next.columns < strip.columns ? strip.column_ids : next.column_ids;
    for (int first = 0; first < strip.rows; first += register_rows) {
      const int rows = strip.rows - first < register_rows ? strip.rows - first : register_rows;
      int lane = 0;
      for (; lane + 2 * width <= tile; lane += 2 * width) {
        multiply_rows_of_strip<2>(rows, layer, strip, ahead, first, x + lane, y + lane, tile,
                                  alive + lane);
      }
      for (; lane < tile; lane += width) {
        multiply_rows_of_strip<1>(rows, layer, strip, ahead, first, x + lane, y + lane, tile,
                                  alive + lane);
      }
    }
  }
}

static void spmm(const LayerView& layer, const float* x, float* y, int tile, float* alive) {
  for (int lane = 0; lane < tile;) {
    const int left = (tile - lane) / width;
    if (left >= max_vectors) {
      multiply_rows<max_vectors>(layer, x + lane, y + lane, tile, alive + lane);
      lane += max_vectors * width;
    } else if (left >= 2) {
      // Tiles are powers of two: fewer than the maximum means a half or a quarter of it.
      if (left >= 4) {
        multiply_rows<4>(layer, x + lane, y + lane, tile, alive + lane);
        lane += 4 * width;
      } else {
        multiply_rows<2>(layer, x + lane, y + lane, tile, alive + lane);
        lane += 2 * width;
      }
    } else {
      multiply_rows<1>(layer, x + lane, y + lane, tile, alive + lane);
      lane += width;
    }
  }
  multiply_strips(layer, x, y, tile, alive);
}
