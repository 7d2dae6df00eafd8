// The two ceilings every kernel is measured against.

static double multiply_adds(int64_t rounds) {
  constexpr int chains = width == 1 ? 8 : (width == 8 ? 12 : 24);
  vec sum[chains];
#pragma GCC unroll 24
  for (int i = 0; i < chains; ++i) sum[i] = set1(1.0f + float(i));  // equal chains would merge
  vec scale = set1(0.5f);
  const vec step = set1(1.0f);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < chains; ++i) sum[i] = multiply_add(sum[i], scale, step);
    asm volatile("" : "+x"(scale));  // keeps the loop from being folded away
  }
  vec total = set1(0.0f);
#pragma GCC unroll 24
  for (int i = 0; i < chains; ++i) total = add(total, sum[i]);
  asm volatile("" : : "x"(total));
  return double(rounds) * chains * width;
}

static float read_floats(const float* data, int64_t count) {
  vec sum[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) sum[i] = set1(0.0f);
  for (int64_t n = 0; n + 8 * width <= count; n += 8 * width) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sum[i] = add(sum[i], load(data + n + i * width));
  }
  float lanes[width], total = 0.0f;
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) sum[0] = add(sum[0], sum[i]);
  store(lanes, sum[0]);
  for (float lane : lanes) total += lane;
  return total;
}
