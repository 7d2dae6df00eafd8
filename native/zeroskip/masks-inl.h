// Masks of non-zeros: 64 channels to a word, bit c % 64 of word c / 64 is set where x is not 0.
// A NaN counts as not 0, -0.0 counts as 0.

static inline uint64_t lanes_of_word(uint64_t word, int channel) {
  return (word >> channel) & ((uint64_t(1) << width) - 1);
}

static void nonzero_mask(const float* x, int64_t rows, int64_t channels, uint64_t* mask) {
  for (int64_t row = 0; row < rows; ++row, x += channels) {
    for (int64_t begin = 0; begin < channels; begin += 64) {
      const int count = int(channels - begin < 64 ? channels - begin : 64);
      uint64_t word = 0;
      int c = 0;
      for (; c + width <= count; c += width) {
        word |= uint64_t(nonzero_lanes(load(x + begin + c))) << c;
      }
      if (c < count) word |= uint64_t(nonzero_lanes(load_first(x + begin + c, count - c))) << c;
      *mask++ = word;
    }
  }
}

static void relu_forward(const float* x, int64_t rows, int64_t channels, float* y, uint64_t* mask) {
  for (int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
    for (int64_t begin = 0; begin < channels; begin += 64) {
      const int count = int(channels - begin < 64 ? channels - begin : 64);
      uint64_t word = 0;
      int c = 0;
      for (; c + width <= count; c += width) {
        const vec positive = relu(load(x + begin + c));
        store(y + begin + c, positive);
        word |= uint64_t(nonzero_lanes(positive)) << c;
      }
      if (c < count) {
        const vec positive = relu(load_first(x + begin + c, count - c));
        store_first(y + begin + c, count - c, positive);
        word |= uint64_t(nonzero_lanes(positive)) << c;
      }
      *mask++ = word;
    }
  }
}

static void relu_backward(const float* dy, const uint64_t* mask, int64_t rows, int64_t channels,
                          float* dx) {
  for (int64_t row = 0; row < rows; ++row, dy += channels, dx += channels) {
    for (int64_t begin = 0; begin < channels; begin += 64) {
      const int count = int(channels - begin < 64 ? channels - begin : 64);
      const uint64_t word = *mask++;
      int c = 0;
      for (; c + width <= count; c += width) {
        store(dx + begin + c, keep(uint32_t(lanes_of_word(word, c)), load(dy + begin + c)));
      }
      if (c < count) {
        const vec rest = load_first(dy + begin + c, count - c);
        store_first(dx + begin + c, count - c, keep(uint32_t(lanes_of_word(word, c)), rest));
      }
    }
  }
}

// The floats of `packed` go where the bits of `word` are set, zeros elsewhere.
static void expand_row(const float* packed, uint64_t word, int channels, float* out) {
  for (int c = 0; c < channels; c += width) {
    const uint32_t lanes = uint32_t(lanes_of_word(word, c));
    const vec values = expand_load(lanes, packed);
    if (c + width <= channels) {
      store(out + c, values);
    } else {
      store_first(out + c, channels - c, values);
    }
    packed += __builtin_popcount(lanes);
  }
}
