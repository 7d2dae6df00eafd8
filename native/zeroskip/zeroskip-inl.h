// The inner loops of zero-skipping. All work on a tile of weights, or of the other operand, that
// lies in L1, and keep sums in registers. In the first three every non-zero is broadcast and meets
// the rows of the tile that belong to it; zeros cost nothing.
//
// sweep_rows: one tap; the sums of two pixels side by side.
// sweep_conv3x3: 3 x 3 taps; the sums of nine target pixels slide along an image row, so that a
//   non-zero is found once for all taps and sums travel from and to memory least.
// sweep_channels: backward by weight, one channel along the positions, one tap or three.
// dot_rows: a dense row in registers meets only those rows of the tile whose bit is set: skips
//   outputs that are not needed.

// sums += values[i * step] * tile[i] over the bits.
template <int Vectors>
static inline void add_bits(uint64_t bits, const float* values, int64_t step, const float* tile,
                            vec (&sums)[Vectors]) {
  while (bits) {
    const int i = __builtin_ctzll(bits);
    bits &= bits - 1;
    const vec value = set1(values[i * step]);
    const float* row = tile + i * (Vectors * width);
    for (int j = 0; j < Vectors; ++j) {
      sums[j] = multiply_add(value, load(row + j * width), sums[j]);
    }
  }
}

// Two rows interleaved: twice as many chains of additions as one row has.
template <int Vectors>
static inline void add_bits_interleaved(uint64_t p_bits, uint64_t q_bits, const float* p_values,
                                        const float* q_values, int64_t step, const float* tile,
                                        vec (&p)[Vectors], vec (&q)[Vectors]) {
  while (p_bits && q_bits) {
    const int i = __builtin_ctzll(p_bits);
    const int k = __builtin_ctzll(q_bits);
    p_bits &= p_bits - 1;
    q_bits &= q_bits - 1;
    const vec p_value = set1(p_values[i * step]);
    const vec q_value = set1(q_values[k * step]);
    const float* p_row = tile + i * (Vectors * width);
    const float* q_row = tile + k * (Vectors * width);
    for (int j = 0; j < Vectors; ++j) {
      p[j] = multiply_add(p_value, load(p_row + j * width), p[j]);
      q[j] = multiply_add(q_value, load(q_row + j * width), q[j]);
    }
  }
  add_bits(p_bits, p_values, step, tile, p);
  add_bits(q_bits, q_values, step, tile, q);
}

// Two rows as one dense product: each row of the tile is loaded once for both.
template <int Vectors>
static inline void add_union(uint64_t bits, const float* p_values, const float* q_values,
                             const float* tile, vec (&p)[Vectors], vec (&q)[Vectors]) {
  for (; bits; bits &= bits - 1) {
    const int i = __builtin_ctzll(bits);
    const vec p_value = set1(p_values[i]);
    const vec q_value = set1(q_values[i]);
    const float* row = tile + i * (Vectors * width);
    for (int j = 0; j < Vectors; ++j) {
      const vec weight = load(row + j * width);
      p[j] = multiply_add(p_value, weight, p[j]);
      q[j] = multiply_add(q_value, weight, q[j]);
    }
  }
}

// Whether two rows have so many bits in common that the union costs less than both alone.
static inline bool union_pays(uint64_t p_bits, uint64_t q_bits) {
  const int both = 2 * __builtin_popcountll(p_bits | q_bits);
  const int alone = __builtin_popcountll(p_bits) + __builtin_popcountll(q_bits);
  return both * 10 <= alone * 11;
}

template <int Vectors>
static inline void load_sums(const float* from, vec (&sums)[Vectors]) {
  for (int j = 0; j < Vectors; ++j) sums[j] = load(from + j * width);
}
template <int Vectors>
static inline void store_sums(float* to, const vec (&sums)[Vectors]) {
  for (int j = 0; j < Vectors; ++j) store(to + j * width, sums[j]);
}

template <int Vectors>
static void sweep_rows(const RowSweep& sweep) {
  constexpr int64_t ahead = 6;
  const int64_t from_stride = sweep.start ? 0 : sweep.sums_stride;
  const int64_t to_stride = sweep.results ? sweep.results_stride : sweep.sums_stride;
  const float* from = sweep.start ? sweep.start : sweep.sums;
  float* to = sweep.results ? sweep.results : sweep.sums;
  const bool in_place = !sweep.start && !sweep.results;
  int64_t row = 0;
  for (; row + 2 <= sweep.count; row += 2, from += 2 * from_stride, to += 2 * to_stride) {
    const uint64_t p_bits = sweep.bits[row * sweep.bits_stride];
    const uint64_t q_bits = sweep.bits[(row + 1) * sweep.bits_stride];
    const float* p_values = sweep.values + row * sweep.values_stride;
    const float* q_values = p_values + sweep.values_stride;
    // Rows far apart are out of a hardware prefetcher's reach: the next ones are wanted soon, their
    // next block of channels in the next sweep.
    for (int c = 0; c < 64; c += 16) {
      __builtin_prefetch(p_values + ahead * sweep.values_stride + c);
      __builtin_prefetch(q_values + ahead * sweep.values_stride + c);
      __builtin_prefetch(p_values + 64 + c, 0, 2);
      __builtin_prefetch(q_values + 64 + c, 0, 2);
    }
    if (in_place && !(p_bits | q_bits)) continue;
    vec p[Vectors], q[Vectors];
    load_sums(from, p);
    load_sums(from + from_stride, q);
    if (sweep.may_multiply_zeros && union_pays(p_bits, q_bits)) {
      add_union(p_bits | q_bits, p_values, q_values, sweep.tile, p, q);
    } else {
      add_bits_interleaved(p_bits, q_bits, p_values, q_values, 1, sweep.tile, p, q);
    }
    store_sums(to, p);
    store_sums(to + to_stride, q);
  }
  if (row < sweep.count) {
    vec p[Vectors];
    load_sums(from, p);
    add_bits(sweep.bits[row * sweep.bits_stride], sweep.values + row * sweep.values_stride, 1,
             sweep.tile, p);
    store_sums(to, p);
  }
}

template <int Number>
struct Slot {
  static constexpr int value = Number;
};

// The sums of three neighbouring target pixels, in rows of taps; pixel i lives in slot i % 3.
template <int TapRows, int Vectors>
struct Window {
  vec sums[TapRows][3][Vectors];

  void load_slot(int slot, const float* from, int64_t row_stride) {
    for (int r = 0; r < TapRows; ++r) load_sums(from + r * row_stride, sums[r][slot]);
  }
  void store_slot(int slot, float* to, int64_t row_stride) const {
    for (int r = 0; r < TapRows; ++r) store_sums(to + r * row_stride, sums[r][slot]);
  }
};

// One source pixel, whose leftmost target lives in slot `Leftmost`: the rightmost slides in before,
// the leftmost leaves after.
template <int Leftmost, int TapRows, int Vectors>
static inline void add_nine_taps(uint32_t bits, const float* values, const float* tile, float* sums,
                                 int64_t sums_row_stride, Window<TapRows, Vectors>& window) {
  constexpr int pitch = Vectors * width;
  window.load_slot((Leftmost + 2) % 3, sums + 2 * pitch, sums_row_stride);
  while (bits) {
    const uint32_t c = uint32_t(__builtin_ctz(bits));
    bits &= bits - 1;
    const vec value = set1(values[c]);
    const float* weights = tile + c * (9 * pitch);
    for (int r = 0; r < TapRows; ++r) {
      for (int s = 0; s < 3; ++s) {
        vec(&sum)[Vectors] = window.sums[r][(Leftmost + 2 - s) % 3];
        for (int j = 0; j < Vectors; ++j) {
          sum[j] = multiply_add(value, load(weights + ((r * 3 + s) * Vectors + j) * width), sum[j]);
        }
      }
    }
  }
  window.store_slot(Leftmost, sums, sums_row_stride);
}

template <int TapRows, int Vectors>
static void sweep_conv3x3(const Conv3x3Sweep& sweep) {
  constexpr int pitch = Vectors * width;
  const int64_t stride = sweep.sums_row_stride;
  const uint32_t* bits = sweep.bits;
  const float* values = sweep.values;
  const auto next = [&](auto slot, float* sums, Window<TapRows, Vectors>& window) {
    add_nine_taps<slot.value>(*bits, values, sweep.tile, sums, stride, window);
    ++bits;
    values += 32;
  };
  for (int64_t row = 0; row < sweep.rows; ++row) {
    float* sums = sweep.sums + row * stride;
    Window<TapRows, Vectors> window;
    window.load_slot(0, sums, stride);
    window.load_slot(1, sums + pitch, stride);
    int64_t left = sweep.width;
    for (; left >= 3; left -= 3, sums += 3 * pitch) {
      next(Slot<0>{}, sums, window);
      next(Slot<1>{}, sums + pitch, window);
      next(Slot<2>{}, sums + 2 * pitch, window);
    }
    if (left == 0) {
      window.store_slot(0, sums, stride);
      window.store_slot(1, sums + pitch, stride);
    } else if (left == 1) {
      next(Slot<0>{}, sums, window);
      window.store_slot(1, sums + pitch, stride);
      window.store_slot(2, sums + 2 * pitch, stride);
    } else {
      next(Slot<0>{}, sums, window);
      next(Slot<1>{}, sums + pitch, window);
      window.store_slot(2, sums + 2 * pitch, stride);
      window.store_slot(0, sums + 3 * pitch, stride);
    }
  }
}

constexpr int64_t channels_step = 64;

template <int Vectors>
static void sweep_channels(const ChannelSweep& sweep) {
  constexpr int pitch = Vectors * width;
  int64_t c = 0;
  for (; c + 2 <= sweep.channels; c += 2) {
    const uint64_t p_bits = sweep.bits[2 * c] & sweep.keep;
    const uint64_t q_bits = sweep.bits[2 * c + 2] & sweep.keep;
    if (!(p_bits | q_bits)) continue;
    float* sums = sweep.sums + c * pitch;
    vec p[Vectors], q[Vectors];
    load_sums(sums, p);
    load_sums(sums + pitch, q);
    add_bits_interleaved(p_bits, q_bits, sweep.values + c, sweep.values + c + 1, channels_step,
                         sweep.tile, p, q);
    store_sums(sums, p);
    store_sums(sums + pitch, q);
  }
  if (c < sweep.channels) {
    vec p[Vectors];
    load_sums(sweep.sums + c * pitch, p);
    add_bits(sweep.bits[2 * c] & sweep.keep, sweep.values + c, channels_step, sweep.tile, p);
    store_sums(sweep.sums + c * pitch, p);
  }
}

template <int Vectors>
static void sweep_channels_3_taps(const ChannelSweep& sweep) {
  constexpr int pitch = Vectors * width;
  for (int64_t c = 0; c < sweep.channels; ++c) {
    const uint64_t* words = sweep.bits + 2 * c;
    if (!(words[0] | words[1])) continue;
    float* to = sweep.sums + c * pitch;
    vec sums[3][Vectors];
    for (int t = 0; t < 3; ++t) load_sums(to + t * sweep.sums_tap_stride, sums[t]);
    // Both words in one loop: its end is what a branch predictor misses.
    uint64_t bits = words[0];
    uint64_t rest = words[1];
    uint64_t first = 0;
    const auto refill = [&] {
      const uint64_t empty = -uint64_t(bits == 0);
      bits |= rest & empty;
      rest &= ~empty;
      first |= 64 & empty;
    };
    refill();
    while (bits) {
      const int64_t i = int64_t(first) + __builtin_ctzll(bits);
      bits &= bits - 1;
      refill();
      const vec value = set1(sweep.values[i * channels_step + c]);
      const float* row = sweep.tile + i * pitch;
      for (int t = 0; t < 3; ++t) {
        for (int j = 0; j < Vectors; ++j) {
          sums[t][j] = multiply_add(value, load(row + t * pitch + j * width), sums[t][j]);
        }
      }
    }
    for (int t = 0; t < 3; ++t) store_sums(to + t * sweep.sums_tap_stride, sums[t]);
  }
}

// Four dot products at a time; where fewer are left, the first is repeated into sums nobody reads.
template <int Vectors>
static void dot_rows(const DotSweep& sweep) {
  for (int64_t row = 0; row < sweep.count; ++row) {
    uint64_t bits = sweep.bits[row * sweep.bits_stride];
    if (!bits) continue;
    const float* source = sweep.source + row * sweep.source_stride;
    float* sums = sweep.sums + row * sweep.sums_stride;
    vec x[Vectors];
    for (int j = 0; j < Vectors - 1; ++j) x[j] = load(source + j * width);
    for (int j = 0; j < Vectors; ++j)
      __builtin_prefetch(source + 3 * sweep.source_stride + j * width);
    x[Vectors - 1] = load_first(source + (Vectors - 1) * width, sweep.last_lanes);
    for (; bits; sums += 4) {
      const float* rows[4];
      for (int g = 0; g < 4; ++g) {
        rows[g] = bits ? sweep.tile + __builtin_ctzll(bits) * (Vectors * width) : rows[0];
        bits &= bits - 1;
      }
      vec dots[4] = {set1(0.0f), set1(0.0f), set1(0.0f), set1(0.0f)};
      for (int j = 0; j < Vectors; ++j) {
        for (int g = 0; g < 4; ++g) {
          dots[g] = multiply_add(x[j], load(rows[g] + j * width), dots[g]);
        }
      }
      add_sums(dots[0], dots[1], dots[2], dots[3], sums);
    }
  }
}

// target[row * target_pitch + c] = source[row * row_stride + c * column_stride] for `columns`
// columns, then zeros up to `padded_columns`.
static void copy_matrix(const float* source, int64_t row_stride, int64_t column_stride, int rows,
                        int columns, int padded_columns, float* target, int64_t target_pitch) {
  for (int row = 0; row < rows; ++row) {
    for (int c = columns; c < padded_columns; ++c) target[row * target_pitch + c] = 0.0f;
  }
  int row = 0;
  if (row_stride == 1) {
    for (; row + width <= rows; row += width) {
      int c = 0;
      for (; c + width <= columns; c += width) {
        vec block[width];
        for (int i = 0; i < width; ++i) block[i] = load(source + (c + i) * column_stride + row);
        transpose(block);
        for (int i = 0; i < width; ++i) store(target + (row + i) * target_pitch + c, block[i]);
      }
      for (; c < columns; ++c) {
        for (int i = 0; i < width; ++i) {
          target[(row + i) * target_pitch + c] = source[c * column_stride + row + i];
        }
      }
    }
  }
  for (; row < rows; ++row) {
    const float* from = source + row * row_stride;
    float* to = target + row * target_pitch;
    int c = 0;
    if (column_stride == 1) {
      for (; c + width <= columns; c += width) {
        __builtin_prefetch(from + 8 * row_stride + c);
        store(to + c, load(from + c));
      }
    }
    for (; c < columns; ++c) to[c] = from[c * column_stride];
  }
}

static constexpr ZeroSkipKernels zeroskip_kernels = {
    .lanes = width,
    .vectors = tile_vectors,
    .conv3x3_vectors = conv3x3_vectors,
    .three_tap_vectors = 4,
    .sweep_rows = {sweep_rows<1>, sweep_rows<2>, sweep_rows<3>, sweep_rows<4>, sweep_rows<5>,
                   sweep_rows<6>, sweep_rows<7>, sweep_rows<8>},
    .dot_rows = {dot_rows<1>, dot_rows<2>, dot_rows<3>, dot_rows<4>, dot_rows<5>, dot_rows<6>,
                 dot_rows<7>, dot_rows<8>},
    .sweep_channels = {sweep_channels<1>, sweep_channels<2>, sweep_channels<3>, sweep_channels<4>,
                       sweep_channels<5>, sweep_channels<6>, sweep_channels<7>, sweep_channels<8>},
    .sweep_channels_3_taps = {sweep_channels_3_taps<1>, sweep_channels_3_taps<2>,
                              sweep_channels_3_taps<3>, sweep_channels_3_taps<4>},
    .sweep_conv3x3 = {{sweep_conv3x3<1, 1>, sweep_conv3x3<1, 2>},
                      {sweep_conv3x3<2, 1>, sweep_conv3x3<2, 2>},
                      {sweep_conv3x3<3, 1>, sweep_conv3x3<3, 2>}},
    .copy_matrix = copy_matrix,
    .nonzero_mask = nonzero_mask,
    .relu_forward = relu_forward,
    .relu_backward = relu_backward,
    .expand_row = expand_row,
};
