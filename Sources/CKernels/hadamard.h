// The Hadamard transform of a power of two of values. The file that includes this defines, for its instruction set,
//
//   plus_or_minus(a, b, h)           a + b in the lanes whose index has not the bit h, a - b in the others

// The number of stages: the power of two that is at least `count`.
INLINE int stages_of(size_t count) { return count <= 1 ? 0 : 64 - __builtin_clzll(count - 1); }

// A stage within a register: at distance h the sum of two values, and the first less the second.
#define WITHIN(x, h, ...) x = plus_or_minus(__builtin_shufflevector(x, x, __VA_ARGS__), x, h);

INLINE floats rotated_within(floats x, int stages) {
  if (stages > 0) WITHIN(x, 1, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
  if (stages > 1) WITHIN(x, 2, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
  if (stages > 2) WITHIN(x, 4, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
  if (stages > 3) WITHIN(x, 8, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
  return x;
}

// The Hadamard transform without its factor, in place, by distances 1, 2, 4, ...
static void rotate(float *z, int stages) {
  size_t count = (size_t)1 << stages;
  if (stages < 4) {
    STORE(z, rotated_within(FLOATS(z), stages));
    return;
  }
  if (stages < 6) {
    for (size_t e = 0; e < count; e += 16) STORE(z + e, rotated_within(FLOATS(z + e), 4));
    if (stages == 5) {
      floats a = FLOATS(z), b = FLOATS(z + 16);
      STORE(z, a + b);
      STORE(z + 16, a - b);
    }
    return;
  }
  for (size_t e = 0; e < count; e += 64) {
    floats a = rotated_within(FLOATS(z + e), 4), b = rotated_within(FLOATS(z + e + 16), 4);
    floats c = rotated_within(FLOATS(z + e + 32), 4), d = rotated_within(FLOATS(z + e + 48), 4);
    floats p = a + b, q = a - b, r = c + d, s = c - d;
    STORE(z + e, p + r);
    STORE(z + e + 16, q + s);
    STORE(z + e + 32, p - r);
    STORE(z + e + 48, q - s);
  }
  size_t h = 64;
  // Two stages at a time.
  for (; 4 * h <= count; h *= 4) {
    for (size_t start = 0; start < count; start += 4 * h) {
      for (size_t e = start; e < start + h; e += 16) {
        floats a = FLOATS(z + e), b = FLOATS(z + e + h), c = FLOATS(z + e + 2 * h), d = FLOATS(z + e + 3 * h);
        floats p = a + b, q = a - b, r = c + d, s = c - d;
        STORE(z + e, p + r);
        STORE(z + e + h, q + s);
        STORE(z + e + 2 * h, p - r);
        STORE(z + e + 3 * h, q - s);
      }
    }
  }
  if (h < count) {
    for (size_t e = 0; e < h; e += 16) {
      floats a = FLOATS(z + e), b = FLOATS(z + e + h);
      STORE(z + e, a + b);
      STORE(z + e + h, a - b);
    }
  }
}
