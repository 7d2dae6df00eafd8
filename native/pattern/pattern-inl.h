// Products with a fixed pattern of non-zeros: the three passes of training a sparse layer.
//
// A row's sums stay in registers while its entries stream by; each entry loads one row of the
// other operand, from L2 as a rule. That load is the ceiling, so the backward pass does both of its
// multiply-adds with one.

// Sums over the lanes of vectors, `width` of them at a time; each goes to a place of its own. The
// caller counts the pending ones: a count beside the vectors would be read from memory every time.
class LaneSums {
 public:
  LaneSums(float* sums, bool adds) : sums_(sums), adds_(adds) {}
  // Takes one more vector to the `pending` ones; returns how many are pending now.
  int push(int pending, vec a, int64_t place) {
    store(vectors_ + pending * width, a);
    places_[pending] = place;
    if (++pending < width) return pending;
    finish(width);
    return 0;
  }
  void finish(int pending) {
    alignas(64) float sums[width];
    store(sums, sum_each(vectors_));
    // Unrolled it would take all registers for addresses from the loop around it.
#pragma GCC unroll 1
    for (int i = 0; i < pending; ++i) {
      float& sum = sums_[places_[i]];
      sum = adds_ ? sum + sums[i] : sums[i];
    }
  }

 private:
  float* sums_;
  bool adds_;
  int64_t places_[width];
  alignas(64) float vectors_[width * width] = {};
};

template <int V>
static inline void load_row(const float* p, vec (&row)[V]) {
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) row[v] = load(p + v * width);
}

template <int V>
static inline void load_first_row(const float* p, int last_lanes, vec (&row)[V]) {
#pragma GCC unroll 8
  for (int v = 0; v + 1 < V; ++v) row[v] = load(p + v * width);
  row[V - 1] = load_first(p + (V - 1) * width, last_lanes);
}

template <int V>
static inline void begin_sums(const PatternProduct& pass, int64_t row, vec (&sum)[V]) {
  if (pass.adds) {
    load_first_row<V>(pass.result + row * pass.result_pitch, pass.last_lanes, sum);
    return;
  }
  const vec start = set1(pass.start ? pass.start[row] : 0.0f);
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) sum[v] = start;
}

template <int V>
static inline void end_sums(const PatternProduct& pass, int64_t row, const vec (&sum)[V]) {
  float* out = pass.result + row * pass.result_pitch;
#pragma GCC unroll 8
  for (int v = 0; v + 1 < V; ++v) store(out + v * width, sum[v]);
  store_first(out + (V - 1) * width, pass.last_lanes, sum[V - 1]);
}

static inline int64_t place_of(const PatternRows& rows, int64_t entry) {
  return rows.order ? int64_t(rows.order[entry]) : entry;
}

template <int V>
static inline void fetch_source(const PatternRows& rows, int64_t entry, const float* source,
                                int64_t pitch) {
  constexpr int line =
      64 / (width * int(sizeof(float))) > 1 ? 64 / (width * int(sizeof(float))) : 1;
  const float* later = source + rows.indices[entry + rows.source_ahead] * pitch;
#pragma GCC unroll 8
  for (int v = 0; v < V; v += line) __builtin_prefetch(later + v * width);
}

// So many sums of a row, or of narrow rows so many times over, hide the latency of multiply-adds.
constexpr int busy_sums = 8;

template <int V>
static void pattern_product(const PatternProduct& given) {
  const PatternProduct pass = given;
  constexpr int copies = V < 4 ? busy_sums / V : 1;
  const PatternRows& rows = pass.rows;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    vec sum[copies][V];
    begin_sums<V>(pass, i, sum[0]);
    for (int c = 1; c < copies; ++c) {
      for (int v = 0; v < V; ++v) sum[c][v] = set1(0.0f);
    }
    int64_t k = rows.first[i];
    const int64_t last = rows.last[i];
    const auto add_entry_to = [&](int64_t entry, vec(&into)[V]) {
      if (rows.source_ahead) fetch_source<V>(rows, entry, pass.source, pass.source_pitch);
      const vec value = set1(pass.values[place_of(rows, entry)]);
      const float* source = pass.source + rows.indices[entry] * pass.source_pitch;
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) into[v] = multiply_add(value, load(source + v * width), into[v]);
    };
    for (; k + copies <= last; k += copies) {
#pragma GCC unroll 8
      for (int c = 0; c < copies; ++c) add_entry_to(k + c, sum[c]);
    }
    for (; k < last; ++k) add_entry_to(k, sum[0]);
#pragma GCC unroll 8
    for (int c = 1; c < copies; ++c) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[0][v] = add(sum[0][v], sum[c][v]);
    }
    end_sums<V>(pass, i, sum[0]);
  }
}

template <int V>
static void pattern_sddmm(const PatternSddmm& given) {
  const PatternSddmm pass = given;
  const PatternRows& rows = pass.rows;
  LaneSums dots(pass.gradients, pass.adds);
  int pending = 0;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    vec left[V];
    load_row<V>(pass.left + i * pass.left_pitch, left);
    for (int64_t k = rows.first[i]; k < rows.last[i]; ++k) {
      if (rows.source_ahead) fetch_source<V>(rows, k, pass.right, pass.right_pitch);
      const float* right = pass.right + rows.indices[k] * pass.right_pitch;
      vec dot[2] = {set1(0.0f), set1(0.0f)};
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        dot[v % 2] = multiply_add(left[v], load(right + v * width), dot[v % 2]);
      }
      pending = dots.push(pending, add(dot[0], dot[1]), place_of(rows, k));
    }
  }
  dots.finish(pending);
}

template <int V>
static void pattern_backward(const PatternBackward& given) {
  const PatternBackward pass = given;
  const PatternProduct& product = pass.product;
  const PatternRows& rows = product.rows;
  LaneSums dots(pass.gradients, pass.adds);
  int pending = 0;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    vec sum[V], left[V];
    begin_sums<V>(product, i, sum);
    load_row<V>(pass.left + i * pass.left_pitch, left);
    for (int64_t k = rows.first[i]; k < rows.last[i]; ++k) {
      const int64_t place = place_of(rows, k);
      if (rows.ahead) {
        const uint32_t later = rows.order[k + rows.ahead];
        __builtin_prefetch(product.values + later);
        __builtin_prefetch(pass.gradients + later, 1);
      }
      if (rows.source_ahead) fetch_source<V>(rows, k, product.source, product.source_pitch);
      const vec value = set1(product.values[place]);
      const float* source = product.source + rows.indices[k] * product.source_pitch;
      vec dot[2] = {set1(0.0f), set1(0.0f)};
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const vec loaded = load_once(source + v * width);
        sum[v] = multiply_add(value, loaded, sum[v]);
        dot[v % 2] = multiply_add(left[v], loaded, dot[v % 2]);
      }
      pending = dots.push(pending, add(dot[0], dot[1]), place);
    }
    end_sums<V>(product, i, sum);
  }
  dots.finish(pending);
}

template <int V>
static void sum_lanes(const float* panel, int64_t pitch, int64_t begin, int64_t end, bool adds,
                      float* sums) {
  LaneSums totals(sums, adds);
  int pending = 0;
  for (int64_t i = begin; i < end; ++i) {
    vec row[V];
    load_row<V>(panel + i * pitch, row);
#pragma GCC unroll 8
    for (int v = 1; v < V; ++v) row[0] = add(row[0], row[v]);
    pending = totals.push(pending, row[0], i);
  }
  totals.finish(pending);
}

// Sixteen rows at a time, each from end to end: rows of some KiB lie on pages of their own, and a
// power of two apart they share their sets of the cache.
static void rows_to_tile(const float* rows, int64_t pitch, int count, int64_t begin, int64_t end,
                         float* tile, int vectors) {
  const int64_t tile_pitch = int64_t(vectors) * width;
  for (int lane = 0; lane < tile_pitch; lane += width) {
    const float* source = rows + lane * pitch;
    for (int64_t n = begin; n < end; n += width) {
      const int features = int(end - n < width ? end - n : width);
      vec block[width];
      for (int i = 0; i < width; ++i) {
        block[i] = lane + i < count ? load_first(source + i * pitch + n, features) : set1(0.0f);
      }
      transpose(block);
      float* out = tile + n * tile_pitch + lane;
      for (int i = 0; i < features; ++i) store(out + i * tile_pitch, block[i]);
    }
  }
}

static void tile_to_rows(const float* tile, int vectors, int count, int64_t begin, int64_t end,
                         float* rows, int64_t pitch) {
  const int64_t tile_pitch = int64_t(vectors) * width;
  for (int lane = 0; lane < count; lane += width) {
    float* out = rows + lane * pitch;
    for (int64_t n = begin; n < end; n += width) {
      const int features = int(end - n < width ? end - n : width);
      vec block[width];
      for (int i = 0; i < width; ++i) {
        block[i] = i < features ? load(tile + (n + i) * tile_pitch + lane) : set1(0.0f);
      }
      transpose(block);
      for (int i = 0; i < width && lane + i < count; ++i) {
        store_first(out + i * pitch + n, features, block[i]);
      }
    }
  }
}

#define ESPALIER_BY_VECTORS(kernel) \
  {kernel<1>, kernel<2>, kernel<3>, kernel<4>, kernel<5>, kernel<6>, kernel<7>, kernel<8>}

static constexpr PatternKernels pattern_kernels = {
    .lanes = width,
    .vectors = 8,
    .product = ESPALIER_BY_VECTORS(pattern_product),
    .sddmm = ESPALIER_BY_VECTORS(pattern_sddmm),
    .backward = ESPALIER_BY_VECTORS(pattern_backward),
    .sum_lanes = ESPALIER_BY_VECTORS(sum_lanes),
    .rows_to_tile = rows_to_tile,
    .tile_to_rows = tile_to_rows,
};

#undef ESPALIER_BY_VECTORS
