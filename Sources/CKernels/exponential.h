// The exponential function and what is made of it: the operations of Sources/Networks/Kernels in the same order, and so the same bits.

// Vectors are passed only within a file, where it does not matter how.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

typedef int32_t masks __attribute__((vector_size(64)));

// a where the mask is set, else b.
static inline __attribute__((always_inline)) floats chosen(masks mask, floats a, floats b) {
  return (floats)((mask & (masks)a) | (~mask & (masks)b));
}

static inline __attribute__((always_inline)) floats all_of(float value) { return value - (floats){0}; }

// Lanes.swift
static inline __attribute__((always_inline)) floats exponential(floats x) {
  masks is_tiny = x < -87.0f;
  floats clamped = chosen(x > 88.0f, all_of(88), chosen(is_tiny, all_of(-87), x));
  floats shifted = clamped * 1.44269504f + 0x1.8p23f;
  floats n = shifted - 0x1.8p23f;
  floats r = (clamped - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
  floats series = r * (1.0f / 5040) + (1.0f / 720);
  series = series * r + (1.0f / 120);
  series = series * r + (1.0f / 24);
  series = series * r + (1.0f / 6);
  series = series * r + 0.5f;
  series = (series * r) * r + r + 1.0f;
  words bits = ((words)shifted + 127) << 23;
  return (floats)(~is_tiny & (masks)(series * (floats)bits));
}

// Softmax.swift
static float exponential_sum(const float *values, size_t count, float maximum, float *terms) {
  floats sums = {0};
  size_t e = 0;
  for (; e + 16 <= count; e += 16) {
    floats term = exponential(FLOATS(values + e) - maximum);
    sums += term;
    if (terms != NULL) STORE(terms + e, term);
  }
  if (e < count) {
    float some[16];
    for (size_t i = 0; i < 16; i++) some[i] = e + i < count ? values[e + i] : -__builtin_inff();
    floats term = exponential(FLOATS(some) - maximum);
    sums += term;
    STORE(some, term);
    for (size_t i = 0; terms != NULL && e + i < count; i++) terms[e + i] = some[i];
  }
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) sums[i] += sums[i + half];
  }
  return sums[0];
}

// Activations.swift: ½(1 + tanh(u)), and z · 2u′.
static inline __attribute__((always_inline)) floats gelu_gate(floats z, floats *slope) {
  floats clamped = chosen(z > 10.0f, all_of(10), chosen(z < -10.0f, all_of(-10), z));
  floats square = clamped * clamped;
  floats term = exponential(clamped * (square * 0.071354814f + 1.5957691f));
  *slope = clamped * (square * 0.21406444f + 1.5957691f);
  return term / (1.0f + term);
}

static inline __attribute__((always_inline)) floats gelu_value(floats z) {
  floats slope;
  return z * gelu_gate(z, &slope);
}

static inline __attribute__((always_inline)) floats gelu_delta(floats z, floats incoming) {
  floats slope, gate = gelu_gate(z, &slope);
  return incoming * (gate + slope * (gate * (1.0f - gate)));
}

static void gelu(const float *inputs, size_t count, float *outputs) {
  size_t e = 0;
  for (; e + 16 <= count; e += 16) STORE(outputs + e, gelu_value(FLOATS(inputs + e)));
  if (e < count) {
    float some[16] = {0};
    for (size_t i = 0; e + i < count; i++) some[i] = inputs[e + i];
    STORE(some, gelu_value(FLOATS(some)));
    for (size_t i = 0; e + i < count; i++) outputs[e + i] = some[i];
  }
}

static void gelu_backward(const float *inputs, const float *incoming, size_t count, float *deltas) {
  size_t e = 0;
  for (; e + 16 <= count; e += 16) STORE(deltas + e, gelu_delta(FLOATS(inputs + e), FLOATS(incoming + e)));
  if (e < count) {
    float some[16] = {0}, others[16] = {0};
    for (size_t i = 0; e + i < count; i++) some[i] = inputs[e + i], others[i] = incoming[e + i];
    STORE(some, gelu_delta(FLOATS(some), FLOATS(others)));
    for (size_t i = 0; e + i < count; i++) deltas[e + i] = some[i];
  }
}

#pragma clang diagnostic pop
