// Sixteen values at a time, in vectors that the compiler maps to the registers of an instruction set; included by loops.h.
typedef float lanes __attribute__((vector_size(64)));
typedef uint32_t bits16 __attribute__((vector_size(64)));
typedef int32_t ints16 __attribute__((vector_size(64)));
typedef uint64_t pairs8 __attribute__((vector_size(64)));
typedef uint32_t bits8 __attribute__((vector_size(32)));
typedef uint32_t bits4 __attribute__((vector_size(16)));
typedef uint32_t bits2 __attribute__((vector_size(8)));
typedef float loose_lanes __attribute__((vector_size(64), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define LOAD(pointer) ((lanes)(*(const loose_lanes *)(pointer)))
#define SPLAT(x) ((lanes){0} + (x))
#define SELECT(mask, a, b) ((lanes)(((bits16)(a) & (bits16)(mask)) | ((bits16)(b) & ~(bits16)(mask))))

// gradient + residual, without negative zero.
INLINE lanes sum_of_two(const float *gradient, const float *residual) { return (LOAD(gradient) + LOAD(residual)) + SPLAT(0.0f); }

// Sixteen results.
INLINE void deliver(lanes y, float *values, int mode) {
  if (mode == CK_ADD) *(loose_lanes *)values = LOAD(values) + y;
  else if (mode == CK_STREAM) __builtin_nontemporal_store(y, (lanes *)values);
  else *(loose_lanes *)values = y;
}

// Streaming needs whole cache lines.
INLINE int mode_for(const float *values, int mode) { return mode == CK_STREAM && ((uintptr_t)values & 63) ? CK_SET : mode; }

// The products of the lower halves of eight pairs with a factor.
INLINE pairs8 multiplied(pairs8 values, uint32_t factor) {
#if defined(HAS_AVX512)
  return (pairs8)_mm512_mul_epu32((__m512i)values, _mm512_set1_epi64(factor));
#elif defined(HAS_AVX2)
  __m256i halves[2];
  __builtin_memcpy(halves, &values, 64);
  for (int i = 0; i < 2; i++) halves[i] = _mm256_mul_epu32(halves[i], _mm256_set1_epi64x(factor));
  __builtin_memcpy(&values, halves, 64);
  return values;
#else
  return (values & 0xffffffffu) * (uint64_t)factor;
#endif
}

// The random words of 64 values: quads `first` to `first + 15` of Philox4x32-10, in the order of the values.
INLINE void random_words(const ck_random *random, uint32_t first, bits16 words[4]) {
  // Of each 64 bits the lower half is a word, and what the upper one has does not matter. In each 128 bits of what is joined in the
  // end, there are quads that lie four apart, so that transposing them there leaves four rows in order.
  const pairs8 quads[2] = {{0, 8, 1, 9, 2, 10, 3, 11}, {4, 12, 5, 13, 6, 14, 7, 15}}, zero = {0};
  const uint64_t start = random->counter[0] + first;
  pairs8 c0[2] = {quads[0] + start, quads[1] + start}, c1[2] = {zero + random->counter[1], zero + random->counter[1]};
  pairs8 c2[2] = {zero + random->counter[2], zero + random->counter[2]}, c3[2] = {zero + random->counter[3], zero + random->counter[3]};
  uint32_t k0 = random->key[0], k1 = random->key[1];
#pragma clang loop unroll(full)
  for (int round = 0; round < 10; round++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 2; i++) {
      pairs8 first_product = multiplied(c0[i], 0xD2511F53u), second_product = multiplied(c2[i], 0xCD9E8D57u);
      c0[i] = (second_product >> 32) ^ c1[i] ^ (uint64_t)k0;
      c1[i] = second_product;
      c2[i] = (first_product >> 32) ^ c3[i] ^ (uint64_t)k1;
      c3[i] = first_product;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
#define TOGETHER(c) (bits16)((c[0] & 0xffffffffu) | c[1] << 32)
  bits16 w0 = TOGETHER(c0), w1 = TOGETHER(c1), w2 = TOGETHER(c2), w3 = TOGETHER(c3);
#undef TOGETHER
#define PAIRED(a, b, i, j) \
  __builtin_shufflevector( \
      a, b, i, 16 + i, j, 16 + j, 4 + i, 20 + i, 4 + j, 20 + j, 8 + i, 24 + i, 8 + j, 24 + j, 12 + i, 28 + i, 12 + j, 28 + j)
  bits16 a = PAIRED(w0, w1, 0, 1), b = PAIRED(w0, w1, 2, 3), c = PAIRED(w2, w3, 0, 1), d = PAIRED(w2, w3, 2, 3);
#define JOINED(a, b, i) \
  __builtin_shufflevector( \
      a, b, i, i + 1, 16 + i, 17 + i, 4 + i, 5 + i, 20 + i, 21 + i, 8 + i, 9 + i, 24 + i, 25 + i, 12 + i, 13 + i, 28 + i, 29 + i)
  words[0] = JOINED(a, c, 0);
  words[1] = JOINED(a, c, 2);
  words[2] = JOINED(b, d, 0);
  words[3] = JOINED(b, d, 2);
#undef PAIRED
#undef JOINED
}

// Uniform in [0, 1 - 2^-24].
INLINE lanes uniform(bits16 words) { return __builtin_convertvector((ints16)(words >> 8), lanes) * 0x1p-24f; }

// The codes of 32 values, each in the low bits of its lane, as `bits` words: code e in word e % bits, from bit bits * (e / bits) on.
INLINE void pack(bits16 first, bits16 second, int bits, uint32_t *words) {
  uint32_t mask = (1u << bits) - 1;
  bits16 sixteen = (first & mask) | (second & mask) << 16;
  if (bits == 16) {
    __builtin_memcpy(words, &sixteen, 64);
    return;
  }
  bits8 eight = __builtin_shufflevector(sixteen, sixteen, 0, 1, 2, 3, 4, 5, 6, 7) |
                __builtin_shufflevector(sixteen, sixteen, 8, 9, 10, 11, 12, 13, 14, 15) << 8;
  if (bits == 8) {
    __builtin_memcpy(words, &eight, 32);
    return;
  }
  bits4 four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) | __builtin_shufflevector(eight, eight, 4, 5, 6, 7) << 4;
  if (bits == 4) {
    __builtin_memcpy(words, &four, 16);
    return;
  }
  uint32_t two[2] = {four[0] | four[2] << 2, four[1] | four[3] << 2};
  __builtin_memcpy(words, two, 8);
}

// The codes of 32 values, each in the high bits of its lane.
INLINE void unpack(const uint32_t *words, int bits, bits16 *first, bits16 *second) {
  bits16 all, places;
  if (bits == 16) {
    __builtin_memcpy(&all, words, 64);
    places = (bits16){0};
  } else if (bits == 8) {
    bits8 eight;
    __builtin_memcpy(&eight, words, 32);
    all = __builtin_shufflevector(eight, eight, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
    places = (bits16){0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8};
  } else if (bits == 4) {
    bits4 four;
    __builtin_memcpy(&four, words, 16);
    all = __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
    places = (bits16){0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  } else {
    all = (bits16){words[0], words[1], words[0], words[1], words[0], words[1], words[0], words[1],
                   words[0], words[1], words[0], words[1], words[0], words[1], words[0], words[1]};
    places = (bits16){0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14};
  }
  *first = all << ((uint32_t)(32 - bits) - places);
  *second = all << ((uint32_t)(16 - bits) - places);
}

// Where the code of value e of a block of `count` lies, in the layout of blocks shorter than 32.
INLINE void pack_partially(const uint32_t *codes, size_t count, int bits, uint32_t *words) {
  size_t size = (count * (size_t)bits + 31) / 32;
  for (size_t i = 0; i < size; i++) words[i] = 0;
  for (size_t e = 0; e < count; e++) words[e % size] |= (codes[e] & ((1u << bits) - 1)) << (e / size * (size_t)bits);
}

INLINE void unpack_partially(const uint32_t *words, size_t count, int bits, uint32_t *codes) {
  size_t size = (count * (size_t)bits + 31) / 32;
  for (size_t e = 0; e < count; e++) codes[e] = words[e % size] >> (e / size * (size_t)bits) << (32 - bits);
}
