// Vectors and masks of one bit a lane: the verbs of kernels that skip zeros.
//
// Included after simd.h by isa/<name>.cpp, inside that file's own namespace.
#pragma once

#if defined(ESPALIER_AVX512)

static inline uint32_t nonzero_lanes(vec a) {
  return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}
static inline vec keep(uint32_t lanes, vec a) { return _mm512_maskz_mov_ps(__mmask16(lanes), a); }
static inline vec load_first(const float* p, int count) {
  return _mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p);
}
static inline void store_first(float* p, int count, vec a) {
  _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), a);
}
// The lanes named take consecutive floats from p, the others are 0.
static inline vec expand_load(uint32_t lanes, const float* p) {
  return _mm512_maskz_expandloadu_ps(__mmask16(lanes), p);
}
// max(0, a); a NaN stays a NaN.
static inline vec relu(vec a) { return _mm512_max_ps(_mm512_setzero_ps(), a); }

// p[0..3] += the sums over the lanes of four vectors.
static inline void add_sums(vec a, vec b, vec c, vec d, float* p) {
  const vec s = add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const vec t = add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const vec u = add(_mm512_shuffle_ps(s, t, 0x44), _mm512_shuffle_ps(s, t, 0xee));
  const __m256 v = _mm256_add_ps(_mm512_castps512_ps256(u), _mm512_extractf32x8_ps(u, 1));
  const __m128 w = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  _mm_storeu_ps(p, _mm_add_ps(_mm_loadu_ps(p), w));
}

// The sums over the lanes of `width` vectors at p, one behind the other.
static inline vec sum_four(const float* p) {
  const vec a = load_once(p), b = load_once(p + 16), c = load_once(p + 32), d = load_once(p + 48);
  const vec s = add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const vec t = add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  return add(_mm512_shuffle_ps(s, t, 0x44), _mm512_shuffle_ps(s, t, 0xee));
}
static inline vec sum_pairs_of_quarters(vec a, vec b) {
  return add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
static inline vec sum_each(const float* p) {
  const vec low = sum_pairs_of_quarters(sum_four(p), sum_four(p + 64));
  const vec high = sum_pairs_of_quarters(sum_four(p + 128), sum_four(p + 192));
  return sum_pairs_of_quarters(low, high);
}

#elif defined(ESPALIER_AVX2)

static inline uint32_t nonzero_lanes(vec a) {
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
}
static inline __m256i lanes_to_mask(uint32_t lanes) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int(lanes)), bits), bits);
}
static inline vec keep(uint32_t lanes, vec a) {
  return _mm256_and_ps(a, _mm256_castsi256_ps(lanes_to_mask(lanes)));
}
static inline vec load_first(const float* p, int count) {
  return _mm256_maskload_ps(p, lanes_to_mask((1u << count) - 1));
}
static inline void store_first(float* p, int count, vec a) {
  _mm256_maskstore_ps(p, lanes_to_mask((1u << count) - 1), a);
}
static inline vec expand_load(uint32_t lanes, const float* p) {
  alignas(32) float out[8] = {};
  for (; lanes; lanes &= lanes - 1) out[__builtin_ctz(lanes)] = *p++;
  return _mm256_load_ps(out);
}
static inline vec relu(vec a) { return _mm256_max_ps(_mm256_setzero_ps(), a); }

static inline void add_sums(vec a, vec b, vec c, vec d, float* p) {
  const vec s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  const __m128 w = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  _mm_storeu_ps(p, _mm_add_ps(_mm_loadu_ps(p), w));
}

static inline vec sum_four(const float* p) {
  return _mm256_hadd_ps(_mm256_hadd_ps(load(p), load(p + 8)),
                        _mm256_hadd_ps(load(p + 16), load(p + 24)));
}
static inline vec sum_each(const float* p) {
  const vec low = sum_four(p), high = sum_four(p + 32);
  return add(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

#else

static inline uint32_t nonzero_lanes(vec a) { return a != 0.0f; }
static inline vec keep(uint32_t lanes, vec a) { return lanes ? a : 0.0f; }
static inline vec load_first(const float* p, int count) { return count ? *p : 0.0f; }
static inline void store_first(float* p, int count, vec a) {
  if (count) *p = a;
}
static inline vec expand_load(uint32_t lanes, const float* p) { return lanes ? *p : 0.0f; }
static inline vec relu(vec a) { return a < 0.0f ? 0.0f : a; }
static inline void add_sums(vec a, vec b, vec c, vec d, float* p) {
  p[0] += a;
  p[1] += b;
  p[2] += c;
  p[3] += d;
}

static inline vec sum_each(const float* p) { return *p; }

#endif
