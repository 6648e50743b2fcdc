// Loops that are the same for every instruction set, in the compiler's vectors of 64 bytes. A file that includes this has
// set the target before, so that such a vector is one register of AVX-512 or two of AVX2.

typedef float floats __attribute__((vector_size(64), aligned(4), may_alias));
typedef float aligned_floats __attribute__((vector_size(64), aligned(64), may_alias));
typedef uint32_t words __attribute__((vector_size(64), aligned(4), may_alias));
typedef float half_floats __attribute__((vector_size(32), aligned(4), may_alias));
typedef double doubles __attribute__((vector_size(64)));

#define FLOATS(pointer) (*(const floats *)(pointer))
#define STORE(pointer, value) (*(floats *)(pointer) = (value))
#define STREAM(pointer, value) __builtin_nontemporal_store((aligned_floats)(value), (aligned_floats *)(pointer))

// The number of values before the next cache line, at most `count`.
static inline size_t values_before_line(const float *pointer, size_t count) {
  size_t head = (64 - ((uintptr_t)pointer & 63)) / 4 % 16;
  return head < count ? head : count;
}

static inline void sum_one_by_one(const float *const *terms, size_t term_count, size_t start, size_t end, float *values) {
  for (size_t e = start; e < end; e++) {
    float total = terms[0][e];
    for (size_t k = 1; k < term_count; k++) total += terms[k][e];
    values[e] = total;
  }
}

static void sum(const float *const *terms, size_t term_count, size_t count, float *values, bool streaming) {
  size_t e = streaming ? values_before_line(values, count) : 0;
  sum_one_by_one(terms, term_count, 0, e, values);
  for (; e + 64 <= count; e += 64) {
    const float *term = terms[0] + e;
    floats a = FLOATS(term), b = FLOATS(term + 16), c = FLOATS(term + 32), d = FLOATS(term + 48);
    for (size_t k = 1; k < term_count; k++) {
      term = terms[k] + e;
      a += FLOATS(term);
      b += FLOATS(term + 16);
      c += FLOATS(term + 32);
      d += FLOATS(term + 48);
    }
    if (streaming) {
      STREAM(values + e, a);
      STREAM(values + e + 16, b);
      STREAM(values + e + 32, c);
      STREAM(values + e + 48, d);
    } else {
      STORE(values + e, a);
      STORE(values + e + 16, b);
      STORE(values + e + 32, c);
      STORE(values + e + 48, d);
    }
  }
  sum_one_by_one(terms, term_count, e, count, values);
}

static void copy_streaming(const float *source, size_t count, float *values) {
  size_t e = values_before_line(values, count);
  for (size_t i = 0; i < e; i++) values[i] = source[i];
  for (; e + 16 <= count; e += 16) STREAM(values + e, FLOATS(source + e));
  for (; e < count; e++) values[e] = source[e];
}

static void add(const float *other, size_t count, float *values) {
  size_t e = 0;
  for (; e + 32 <= count; e += 32) {
    STORE(values + e, FLOATS(values + e) + FLOATS(other + e));
    STORE(values + e + 16, FLOATS(values + e + 16) + FLOATS(other + e + 16));
  }
  for (; e < count; e++) values[e] += other[e];
}

static void subtract(const float *minuends, const float *subtrahends, size_t count, float *values) {
  size_t e = 0;
  for (; e + 16 <= count; e += 16) STORE(values + e, FLOATS(minuends + e) - FLOATS(subtrahends + e));
  for (; e < count; e++) values[e] = minuends[e] - subtrahends[e];
}

// The three updates with and without decay are one text, made six loops by constant conditions.
#define DESCEND(type, load, save)                         \
  type w = load(weights + e), y = load(gradient + e);     \
  if (has_decay) y = y + decay * w;                       \
  if (has_momenta) {                                      \
    type gained = gain * y;                               \
    type u = momentum * load(momenta + e) + gained;       \
    save(momenta + e, u);                                 \
    y = nesterov ? gained + momentum * u : u;             \
  }                                                       \
  save(weights + e, w - rate * y);
#define ONE_FLOAT(pointer) (*(pointer))
#define STORE_ONE(pointer, value) (*(pointer) = (value))

static inline __attribute__((always_inline)) void descend_as(
    float *weights, const float *gradient, float *momenta, size_t count, float rate, float momentum, float gain, float decay,
    bool nesterov, bool has_momenta, bool has_decay) {
  size_t e = 0;
  for (; e + 16 <= count; e += 16) { DESCEND(floats, FLOATS, STORE) }
  for (; e < count; e++) { DESCEND(float, ONE_FLOAT, STORE_ONE) }
}

static void descend(
    float *weights, const float *gradient, float *momenta, size_t count, float rate, float momentum, float gain, float decay,
    bool nesterov) {
#define AS(nesterov, has_momenta, has_decay) \
  descend_as(weights, gradient, momenta, count, rate, momentum, gain, decay, nesterov, has_momenta, has_decay)
  if (momenta == NULL) {
    if (decay == 0) AS(false, false, false);
    else AS(false, false, true);
  } else if (nesterov) {
    if (decay == 0) AS(true, true, false);
    else AS(true, true, true);
  } else {
    if (decay == 0) AS(false, true, false);
    else AS(false, true, true);
  }
#undef AS
}

// Sixteen values of a step of Adam.
static inline __attribute__((always_inline)) void adam_block(
    float *weights, const float *gradient, float *means, float *squares, ck_adam_step step) {
  const floats largest = (floats){0} + step.largest_gradient;
  floats w = FLOATS(weights), x = step.gradient_scale * FLOATS(gradient) + step.gradient_decay * w;
  words above = (words)(x > largest), below = (words)(x < -largest);
  x = (floats)(((words)x & ~(above | below)) | ((words)largest & above) | ((words)-largest & below));
  floats m = step.mean_kept * FLOATS(means) + step.mean_gain * x;
  floats v = step.square_kept * FLOATS(squares) + step.square_gain * (x * x);
  floats root = step.root_scale * __builtin_elementwise_sqrt(v) + step.epsilon;
  STORE(means, m);
  STORE(squares, v);
  STORE(weights, w - (step.rate * (m / root) + step.shrinkage * w));
}

static void adam(
    float *weights, const float *gradient, float *means, float *squares, size_t count, const ck_adam_step *given) {
  const ck_adam_step step = *given;
  size_t e = 0;
  for (; e + 16 <= count; e += 16) adam_block(weights + e, gradient + e, means + e, squares + e, step);
  if (e == count) return;
  float last[4][16] = {{0}};
  size_t size = (count - e) * 4;
  __builtin_memcpy(last[0], weights + e, size);
  __builtin_memcpy(last[1], gradient + e, size);
  __builtin_memcpy(last[2], means + e, size);
  __builtin_memcpy(last[3], squares + e, size);
  adam_block(last[0], last[1], last[2], last[3], step);
  __builtin_memcpy(weights + e, last[0], size);
  __builtin_memcpy(means + e, last[2], size);
  __builtin_memcpy(squares + e, last[3], size);
}

// Sixteen values of a step of Lion.
static inline __attribute__((always_inline)) void lion_block(
    float *weights, const float *gradient, float *means, ck_lion_step step) {
  const floats zero = {0};
  floats w = FLOATS(weights), m = FLOATS(means), x = step.gradient_scale * FLOATS(gradient);
  floats c = step.sign_kept * m + step.sign_gain * x;
  // Rate, -rate or 0.
  words above = (words)(c > zero), below = (words)(c < zero);
  floats move = (floats)(((words)(zero + step.rate) & above) | ((words)(zero - step.rate) & below));
  STORE(means, step.mean_kept * m + step.mean_gain * x);
  STORE(weights, w - (move + step.shrinkage * w));
}

static void lion(float *weights, const float *gradient, float *means, size_t count, const ck_lion_step *given) {
  const ck_lion_step step = *given;
  size_t e = 0;
  for (; e + 16 <= count; e += 16) lion_block(weights + e, gradient + e, means + e, step);
  if (e == count) return;
  float last[3][16] = {{0}};
  size_t size = (count - e) * 4;
  __builtin_memcpy(last[0], weights + e, size);
  __builtin_memcpy(last[1], gradient + e, size);
  __builtin_memcpy(last[2], means + e, size);
  lion_block(last[0], last[1], last[2], step);
  __builtin_memcpy(weights + e, last[0], size);
  __builtin_memcpy(means + e, last[2], size);
}

// Sixteen values of the compensation of a delay; has_squares is a constant.
static inline __attribute__((always_inline)) void correct_delay_block(
    float *gradient, const float *now, const float *before, float *squares, ck_delay_correction step, bool has_squares) {
  floats g = FLOATS(gradient), lambda = (floats){0} + step.lambda, square = g * g;
  if (has_squares) {
    floats s = step.kept * FLOATS(squares) + step.gain * square;
    STORE(squares, s);
    lambda = lambda / __builtin_elementwise_sqrt(s + step.epsilon);
  }
  floats x = lambda * square * (FLOATS(now) - FLOATS(before)), limit = step.clamp * __builtin_elementwise_abs(g);
  // What is not a number is neither above, below nor within.
  words above = (words)(x > limit), below = (words)(x < -limit), within = (words)(x >= -limit) & ~above;
  STORE(gradient, g + (floats)(((words)limit & above) | ((words)-limit & below) | ((words)x & within)));
}

static inline __attribute__((always_inline)) void correct_delay_as(
    float *gradient, const float *now, const float *before, float *squares, size_t count, ck_delay_correction step,
    bool has_squares) {
  size_t e = 0;
  for (; e + 16 <= count; e += 16)
    correct_delay_block(gradient + e, now + e, before + e, has_squares ? squares + e : NULL, step, has_squares);
  if (e == count) return;
  float last[4][16] = {{0}};
  size_t size = (count - e) * 4;
  __builtin_memcpy(last[0], gradient + e, size);
  __builtin_memcpy(last[1], now + e, size);
  __builtin_memcpy(last[2], before + e, size);
  if (has_squares) __builtin_memcpy(last[3], squares + e, size);
  correct_delay_block(last[0], last[1], last[2], last[3], step, has_squares);
  __builtin_memcpy(gradient + e, last[0], size);
  if (has_squares) __builtin_memcpy(squares + e, last[3], size);
}

static void correct_delay(
    float *gradient, const float *now, const float *before, float *squares, size_t count, const ck_delay_correction *given) {
  if (squares != NULL) correct_delay_as(gradient, now, before, squares, count, *given, true);
  else correct_delay_as(gradient, now, before, NULL, count, *given, false);
}

static uint32_t largest_magnitude(const float *values, size_t count) {
  words a = {0}, b = {0};
  const uint32_t *bits = (const uint32_t *)values;
  size_t e = 0;
  for (; e + 32 <= count; e += 32) {
    a = __builtin_elementwise_max(a, *(const words *)(bits + e) & 0x7fffffff);
    b = __builtin_elementwise_max(b, *(const words *)(bits + e + 16) & 0x7fffffff);
  }
  uint32_t largest = __builtin_reduce_max(__builtin_elementwise_max(a, b));
  for (; e < count; e++) {
    uint32_t magnitude;
    __builtin_memcpy(&magnitude, values + e, 4);
    magnitude &= 0x7fffffff;
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

static double sum_of_squares(const float *values, size_t count) {
  doubles lanes[4] = {{0}};
  size_t e = 0;
  float padded[32] = {0};
  for (; e < count; e += 32) {
    const float *next = values + e;
    if (e + 32 > count) next = __builtin_memcpy(padded, next, (count - e) * 4);
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
      doubles x = __builtin_convertvector(*(const half_floats *)(next + 8 * i), doubles);
      lanes[i] += x * x;
    }
  }
  // Halves are added until one value is left: 16, 8, 4, 2, 1.
  double sums[32];
  __builtin_memcpy(sums, lanes, sizeof sums);
  for (int half = 16; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sums[i] += sums[i + half];
  return sums[0];
}
