// Moving samples between rows ([sample][neuron]) and panels ([neuron][sample of a tile]).

static void rows_to_panel(const float* const* rows, int count, int64_t neurons, float* panel,
                          int tile) {
  for (int lane = 0; lane < tile; lane += width) {
    int64_t n = 0;
    if (lane + width <= count) {
      for (; n + width <= neurons; n += width) {
        vec block[width];
        for (int i = 0; i < width; ++i) block[i] = load(rows[lane + i] + n);
        transpose(block);
        for (int i = 0; i < width; ++i) store(panel + (n + i) * tile + lane, block[i]);
      }
    }
    for (; n < neurons; ++n) {
      for (int i = 0; i < width; ++i) {
        panel[n * tile + lane + i] = lane + i < count ? rows[lane + i][n] : 0.0f;
      }
    }
  }
}

static void panel_to_rows(const float* panel, int tile, int64_t neurons, float* const* rows,
                          int count) {
  for (int lane = 0; lane < count; lane += width) {
    int64_t n = 0;
    if (lane + width <= count) {
      for (; n + width <= neurons; n += width) {
        vec block[width];
        for (int i = 0; i < width; ++i) block[i] = load(panel + (n + i) * tile + lane);
        transpose(block);
        for (int i = 0; i < width; ++i) store(rows[lane + i] + n, block[i]);
      }
    }
    for (; n < neurons; ++n) {
      for (int i = lane; i < count && i < lane + width; ++i) rows[i][n] = panel[n * tile + i];
    }
  }
}

static bool all_finite(const float* data, int64_t count) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t size = magnitude(data[i]);
    largest = size > largest ? size : largest;
  }
  return largest < infinity_bits;
}

static void pack_lanes(const float* source, uint32_t mask, float* target, int64_t neurons,
                       int tile) {
  constexpr uint32_t full = width == 32 ? ~0u : (1u << width) - 1;
  for (int64_t n = 0; n < neurons; ++n) {
    float* out = target + n * tile;
    for (int lane = 0; lane < 16; lane += width) {
      const uint32_t part = (mask >> lane) & full;
      pack_store(out, part, load(source + n * tile + lane));
      out += __builtin_popcount(part);
    }
  }
}
