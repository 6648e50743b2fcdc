// Products of rows with the columns of a factor, in the compiler's vectors; each product and sum is rounded separately.

// The inner product over 32 lanes (lane l adds the products l, l + 32, ...), which are combined by halves.
static float inner_product(const float *a, const float *b, size_t count) {
  floats low = {0}, high = {0};
  size_t e = 0;
  for (; e + 32 <= count; e += 32) {
    low += FLOATS(a + e) * FLOATS(b + e);
    high += FLOATS(a + e + 16) * FLOATS(b + e + 16);
  }
  if (e < count) {
    float last[2][32] = {{0}};
    __builtin_memcpy(last[0], a + e, (count - e) * 4);
    __builtin_memcpy(last[1], b + e, (count - e) * 4);
    low += FLOATS(last[0]) * FLOATS(last[1]);
    high += FLOATS(last[0] + 16) * FLOATS(last[1] + 16);
  }
  low += high;
#pragma clang loop unroll(full)
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) low[i] += low[i + half];
  return low[0];
}

static void add_scaled(float factor, const float *other, size_t count, float *values) {
  size_t e = 0;
  for (; e + 32 <= count; e += 32) {
    STORE(values + e, FLOATS(values + e) + factor * FLOATS(other + e));
    STORE(values + e + 16, FLOATS(values + e + 16) + factor * FLOATS(other + e + 16));
  }
  for (; e < count; e++) values[e] += factor * other[e];
}
