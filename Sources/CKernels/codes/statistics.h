// What the scales of codes are made of; included by loops.h.
typedef double doubles8 __attribute__((vector_size(64)));
typedef float half_lanes __attribute__((vector_size(32), aligned(4), may_alias));

// Halves are added until one value is left: 16, 8, 4, 2, 1.
INLINE double sum_by_halves(const doubles8 sums[4]) {
  doubles8 a = sums[0] + sums[2], b = sums[1] + sums[3];
  doubles8 c = a + b;
  return ((c[0] + c[4]) + (c[2] + c[6])) + ((c[1] + c[5]) + (c[3] + c[7]));
}

INLINE void add_to_sums(lanes first, lanes second, bool squares, doubles8 sums[4]) {
  lanes both[2] = {first, second};
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    half_lanes half;
    __builtin_memcpy(&half, (const char *)both + 32 * i, 32);
    doubles8 x = __builtin_convertvector(half, doubles8);
    sums[i] += squares ? x * x : x;
  }
}

INLINE lanes magnitude(lanes v) { return (lanes)((bits16)v & 0x7fffffffu); }

INLINE double sum_over(const float *gradient, const float *residual, size_t count, bool squares) {
  doubles8 sums[4] = {{0}};
  size_t e = 0;
  for (; e + 32 <= count; e += 32)
    add_to_sums(
        magnitude(sum_of_two(gradient + e, residual + e)), magnitude(sum_of_two(gradient + e + 16, residual + e + 16)), squares,
        sums);
  if (e < count) {
    float last[2][32] = {{0}};
    __builtin_memcpy(last[0], gradient + e, (count - e) * 4);
    __builtin_memcpy(last[1], residual + e, (count - e) * 4);
    add_to_sums(magnitude(sum_of_two(last[0], last[1])), magnitude(sum_of_two(last[0] + 16, last[1] + 16)), squares, sums);
  }
  return sum_by_halves(sums);
}

static double magnitude_sum(const float *gradient, const float *residual, size_t count) {
  return sum_over(gradient, residual, count, false);
}

static double square_sum(const float *gradient, const float *residual, size_t count) {
  return sum_over(gradient, residual, count, true);
}

static uint32_t largest(const float *gradient, const float *residual, size_t count) {
  bits16 a = {0}, b = {0};
  size_t e = 0;
  for (; e + 32 <= count; e += 32) {
    a = __builtin_elementwise_max(a, (bits16)magnitude(sum_of_two(gradient + e, residual + e)));
    b = __builtin_elementwise_max(b, (bits16)magnitude(sum_of_two(gradient + e + 16, residual + e + 16)));
  }
  uint32_t most = __builtin_reduce_max(__builtin_elementwise_max(a, b));
  for (; e < count; e++) {
    float v = gradient[e] + residual[e];
    uint32_t pattern;
    __builtin_memcpy(&pattern, &v, 4);
    pattern &= 0x7fffffff;
    if (pattern > most) most = pattern;
  }
  return most;
}

static void range(const float *gradient, const float *residual, size_t count, float *bounds) {
  float low = 0, high = 0;
  size_t e = 0;
  if (count >= 16) {
    lanes least = sum_of_two(gradient, residual), most = least;
    for (e = 16; e + 16 <= count; e += 16) {
      lanes v = sum_of_two(gradient + e, residual + e);
      least = SELECT(v < least, v, least);
      most = SELECT(v > most, v, most);
    }
    low = least[0];
    high = most[0];
    for (int i = 1; i < 16; i++) {
      if (least[i] < low) low = least[i];
      if (most[i] > high) high = most[i];
    }
  } else if (count > 0) {
    low = high = gradient[0] + residual[0] + 0.0f;
  }
  for (; e < count; e++) {
    float v = gradient[e] + residual[e] + 0.0f;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  bounds[0] = low;
  bounds[1] = high;
}
