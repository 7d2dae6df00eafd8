// The two inner loops of zero-skipping, both over a tile of at most 64 rows that lies in L1.
//
// sweep_rows: every non-zero of a sparse row is broadcast and meets one row of the tile; the sums
//   of one row (two rows side by side) stay in registers. Skips zeros of the operand.
// dot_rows: a dense row in registers meets only those rows of the tile whose bit is set. Skips
//   outputs nobody needs.

// acc_p += values[i] tile[i] over the bits of one mask.
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

// Two rows meet one tile. Where both have nearly all bits, each row of the tile is loaded once for
// both (a dense product); else each takes its own bits, turn by turn, for twice the chains.
template <int Vectors>
static inline void add_two_rows(uint64_t p_bits, uint64_t q_bits, const float* p_values,
                                const float* q_values, int64_t step, const float* tile,
                                bool may_multiply_zeros, vec (&p)[Vectors], vec (&q)[Vectors]) {
  const int shared = 2 * __builtin_popcountll(p_bits | q_bits);
  const int alone = __builtin_popcountll(p_bits) + __builtin_popcountll(q_bits);
  if (may_multiply_zeros && shared * 10 <= alone * 11) {
    for (uint64_t bits = p_bits | q_bits; bits; bits &= bits - 1) {
      const int i = __builtin_ctzll(bits);
      const vec p_value = set1(p_values[i * step]);
      const vec q_value = set1(q_values[i * step]);
      const float* row = tile + i * (Vectors * width);
      for (int j = 0; j < Vectors; ++j) {
        const vec weight = load(row + j * width);
        p[j] = multiply_add(p_value, weight, p[j]);
        q[j] = multiply_add(q_value, weight, q[j]);
      }
    }
    return;
  }
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

template <int Vectors, bool Contiguous>
static void sweep_rows(const RowSweep& sweep) {
  const int64_t step = Contiguous ? 1 : sweep.value_step;
  int64_t row = 0;
  for (; row + 2 <= sweep.count; row += 2) {
    const uint64_t p_bits = sweep.bits[row * sweep.bits_stride];
    const uint64_t q_bits = sweep.bits[(row + 1) * sweep.bits_stride];
    if (!(p_bits | q_bits)) continue;
    const float* p_values = sweep.values + row * sweep.values_stride;
    float* p_sums = sweep.sums + row * sweep.sums_stride;
    float* q_sums = p_sums + sweep.sums_stride;
    vec p[Vectors], q[Vectors];
    for (int j = 0; j < Vectors; ++j) p[j] = load(p_sums + j * width);
    for (int j = 0; j < Vectors; ++j) q[j] = load(q_sums + j * width);
    add_two_rows<Vectors>(p_bits, q_bits, p_values, p_values + sweep.values_stride, step,
                          sweep.tile, sweep.may_multiply_zeros, p, q);
    for (int j = 0; j < Vectors; ++j) store(p_sums + j * width, p[j]);
    for (int j = 0; j < Vectors; ++j) store(q_sums + j * width, q[j]);
  }
  if (row < sweep.count && sweep.bits[row * sweep.bits_stride]) {
    float* sums = sweep.sums + row * sweep.sums_stride;
    vec p[Vectors];
    for (int j = 0; j < Vectors; ++j) p[j] = load(sums + j * width);
    add_bits(sweep.bits[row * sweep.bits_stride], sweep.values + row * sweep.values_stride, step,
             sweep.tile, p);
    for (int j = 0; j < Vectors; ++j) store(sums + j * width, p[j]);
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
      for (; c + width <= columns; c += width) store(to + c, load(from + c));
    }
    for (; c < columns; ++c) to[c] = from[c * column_stride];
  }
}

static constexpr ZeroSkipKernels zeroskip_kernels = {
    .lanes = width,
    .vectors = tile_vectors,
    .sweep_rows = {sweep_rows<1, true>, sweep_rows<2, true>, sweep_rows<3, true>,
                   sweep_rows<4, true>, sweep_rows<5, true>, sweep_rows<6, true>,
                   sweep_rows<7, true>, sweep_rows<8, true>},
    .sweep_columns = {sweep_rows<1, false>, sweep_rows<2, false>, sweep_rows<3, false>,
                      sweep_rows<4, false>, sweep_rows<5, false>, sweep_rows<6, false>,
                      sweep_rows<7, false>, sweep_rows<8, false>},
    .dot_rows = {dot_rows<1>, dot_rows<2>, dot_rows<3>, dot_rows<4>, dot_rows<5>, dot_rows<6>,
                 dot_rows<7>, dot_rows<8>},
    .copy_matrix = copy_matrix,
    .nonzero_mask = nonzero_mask,
    .relu_forward = relu_forward,
    .relu_backward = relu_backward,
    .expand_row = expand_row,
};
