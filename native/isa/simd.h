// A vector of floats per instruction set: `vec`, `width` and the few verbs kernels need.
//
// Included only by isa/<name>.cpp, inside that file's own namespace: everything here is static, so
// the linker can never hand one instruction set's code to another.
//
// Order of operands matters in `clamp`: x86 min and max return the second one when either is
// NaN, so a NaN stays a NaN.
#pragma once

#if defined(ESPALIER_AVX512)

using vec = __m512;
constexpr int width = 16;
constexpr int max_vectors = 4;
constexpr int register_rows = 8;
constexpr int tile_vectors = 8;
constexpr int conv3x3_vectors = 2;

static inline vec set1(float a) { return _mm512_set1_ps(a); }
static inline vec load(const float* p) { return _mm512_loadu_ps(p); }
static inline void store(float* p, vec a) { _mm512_storeu_ps(p, a); }
static inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec multiply_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline vec clamp(vec a, vec lower, vec upper) {
  return _mm512_min_ps(upper, _mm512_max_ps(lower, a));
}
static inline vec or_bits(vec a, vec b) { return _mm512_or_ps(a, b); }

// The lanes of `mask` move to the front and are stored; other memory stays untouched.
static inline void pack_store(float* p, uint32_t mask, vec a) {
  _mm512_mask_storeu_ps(p, (1u << __builtin_popcount(mask)) - 1, _mm512_maskz_compress_ps(mask, a));
}

static inline void transpose(vec (&r)[16]) {
  vec t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
  }
}

#elif defined(ESPALIER_AVX2)

using vec = __m256;
constexpr int width = 8;
constexpr int max_vectors = 8;
constexpr int register_rows = 4;
constexpr int tile_vectors = 6;
constexpr int conv3x3_vectors = 1;

static inline vec set1(float a) { return _mm256_set1_ps(a); }
static inline vec load(const float* p) { return _mm256_loadu_ps(p); }
static inline void store(float* p, vec a) { _mm256_storeu_ps(p, a); }
static inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec multiply_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline vec clamp(vec a, vec lower, vec upper) {
  return _mm256_min_ps(upper, _mm256_max_ps(lower, a));
}
static inline vec or_bits(vec a, vec b) { return _mm256_or_ps(a, b); }

static inline void pack_store(float* p, uint32_t mask, vec a) {
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, a);
  for (; mask; mask &= mask - 1) *p++ = lanes[__builtin_ctz(mask)];
}

static inline void transpose(vec (&r)[8]) {
  vec t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
  }
  for (int i = 0; i < 8; ++i) r[i] = t[i];
}

#else

using vec = float;
constexpr int width = 1;
constexpr int max_vectors = 8;
constexpr int register_rows = 2;
constexpr int tile_vectors = 8;
constexpr int conv3x3_vectors = 2;

static inline vec set1(float a) { return a; }
static inline vec load(const float* p) { return *p; }
static inline void store(float* p, vec a) { *p = a; }
static inline vec add(vec a, vec b) { return a + b; }
static inline float multiply_add(float a, float b, float c) { return a * b + c; }
static inline vec clamp(vec a, vec lower, vec upper) {
  a = lower > a ? lower : a;
  return upper < a ? upper : a;
}
static inline vec or_bits(vec a, vec b) {
  uint32_t u, v;
  __builtin_memcpy(&u, &a, 4);
  __builtin_memcpy(&v, &b, 4);
  u |= v;
  __builtin_memcpy(&a, &u, 4);
  return a;
}
static inline void pack_store(float* p, uint32_t mask, vec a) {
  if (mask) *p = a;
}
static inline void transpose(vec (&)[1]) {}

#endif

// A load for several uses: the compiler would rather load again for each of them.
static inline vec load_once(const float* p) {
  vec a = load(p);
#if defined(ESPALIER_AVX512)
  asm("" : "+v"(a));
#elif defined(ESPALIER_AVX2)
  asm("" : "+x"(a));
#endif
  return a;
}

// Size of a float as an integer: at least `infinity_bits` exactly when it is not finite.
constexpr uint32_t infinity_bits = 0x7f800000;
static inline uint32_t magnitude(float a) {
  uint32_t bits;
  __builtin_memcpy(&bits, &a, 4);
  return bits & 0x7fffffff;
}
