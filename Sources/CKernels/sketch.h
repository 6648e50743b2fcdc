// Count Sketches of the block family and selection by magnitude (Sources/Kernels/Portable/Portable+Sketch.swift is the reference).
// The file that includes this defines, for its instruction set,
//
//   vector, lane_bits                a register, and an integer with a bit for each of its lanes
//   load, save, plus                 at any alignment
//   flipped(x, bits)                 x with the sign of lane l changed where bit l is 1
//   lesser(a, b), greater(a, b)      by lanes
//   at_least(values, key)            a bit for each of 64 values: whether its magnitude is `key` or more
//   keep(values, mask, …)            copies those of 64 values whose bit is set, and their indices; returns how many

enum { LANES = sizeof(vector) / 4, TILE = 128, MOST_ROWS = 21 };

// Blocks are gone through by tiles, and in each tile all rows in turn: the values of a tile stay in registers' reach, and each row is
// read and written as a stream that the processor sees coming. (The limit of a large table is the way to it: every cell goes there
// and back.)

static void sketch_signs(const uint64_t *keys, size_t count, size_t words, uint64_t *signs) {
  for (size_t place = 0; place < count; place++, signs += words) {
    uint64_t key = keys[2 * place], flips = keys[2 * place + 1];
    for (size_t word = 0; word < words; word++) {
      uint64_t z = key + (word + 1) * 0x9E3779B97F4A7C15;
      z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
      z = (z ^ z >> 27) * 0x94D049BB133111EB;
      signs[word] = (z ^ z >> 31) ^ flips;
    }
  }
}

// A tile of a window in a row: in place, or in `copy` where it wraps around the end of the row.
static inline float *tile_of(float *row, size_t columns, size_t start, float *copy) {
  if (start >= columns) start -= columns;
  if (start + TILE <= columns) return row + start;
  size_t head = columns - start;
  __builtin_memcpy(copy, row + start, head * 4);
  __builtin_memcpy(copy + head, row, (TILE - head) * 4);
  return copy;
}

static inline void put_back(float *row, size_t columns, size_t start, const float *copy) {
  size_t head = columns - start;
  __builtin_memcpy(row + start, copy, head * 4);
  __builtin_memcpy(row, copy + head, (TILE - head) * 4);
}

static void sketch_insert(
    float *table, size_t rows, size_t columns, size_t length, const uint32_t *starts, const uint64_t *signs, size_t blocks,
    const float *values) {
  float copy[TILE];
  for (size_t b = 0; b < blocks; b++, starts += rows, signs += rows * (length / 64)) {
    for (size_t t = 0; t < length; t += TILE, values += TILE) {
      for (size_t j = 0; j < rows; j++) {
        float *row = table + j * columns, *cells = tile_of(row, columns, starts[j] + t, copy);
        const lane_bits *bits = (const lane_bits *)(signs + (j * length + t) / 64);
#pragma clang loop unroll(full)
        for (size_t i = 0; i < TILE / LANES; i++)
          save(cells + LANES * i, plus(load(cells + LANES * i), flipped(load(values + LANES * i), bits[i])));
        if (cells == copy) put_back(row, columns, starts[j] + t, copy);
      }
    }
  }
}

static inline vector median_of_three(vector a, vector b, vector c) {
  return greater(lesser(a, b), lesser(greater(a, b), c));
}

static inline vector median_of_five(const vector v[5]) {
  vector low = greater(lesser(v[0], v[1]), lesser(v[2], v[3]));
  vector high = lesser(greater(v[0], v[1]), greater(v[2], v[3]));
  return median_of_three(low, high, v[4]);
}

// The largest rises to the end in each pass, until the middle one has.
static inline vector median_of_many(vector *v, size_t rows) {
  for (size_t end = rows - 1; end >= rows / 2 && end > 0; end--)
    for (size_t j = 0; j < end; j++) {
      vector a = v[j], b = v[j + 1];
      v[j] = lesser(a, b);
      v[j + 1] = greater(a, b);
    }
  return v[rows / 2];
}

static inline __attribute__((always_inline)) void sketch_query_of(
    const float *table, size_t rows, size_t columns, size_t length, const uint32_t *starts, const uint64_t *signs, size_t blocks,
    float *estimates) {
  float copies[MOST_ROWS][TILE];
  const float *cells[MOST_ROWS];
  const vector zero = {0};
  for (size_t b = 0; b < blocks; b++, starts += rows, signs += rows * (length / 64)) {
    for (size_t t = 0; t < length; t += TILE, estimates += TILE) {
      for (size_t j = 0; j < rows; j++) cells[j] = tile_of((float *)table + j * columns, columns, starts[j] + t, copies[j]);
      const lane_bits *bits = (const lane_bits *)(signs + t / 64);
      for (size_t i = 0; i < TILE / LANES; i++) {
        vector v[MOST_ROWS];
        for (size_t j = 0; j < rows; j++) v[j] = flipped(load(cells[j] + LANES * i), bits[j * (length / LANES) + i]);
        // + 0 removes negative zero.
        vector median = rows == 5   ? median_of_five(v)
                        : rows == 3 ? median_of_three(v[0], v[1], v[2])
                                    : median_of_many(v, rows);
        save(estimates + LANES * i, plus(median, zero));
      }
    }
  }
}

static void sketch_query(
    const float *table, size_t rows, size_t columns, size_t length, const uint32_t *starts, const uint64_t *signs, size_t blocks,
    float *estimates) {
  if (rows == 5) sketch_query_of(table, 5, columns, length, starts, signs, blocks, estimates);
  else if (rows == 3) sketch_query_of(table, 3, columns, length, starts, signs, blocks, estimates);
  else sketch_query_of(table, rows, columns, length, starts, signs, blocks, estimates);
}

// Finds the values of a magnitude of `key` or more; there is room for `count` of them and sixteen beyond.
static size_t select_at_least(
    const float *values, size_t count, uint32_t key, uint32_t first_index, uint32_t *indices, float *selected) {
  size_t found = 0, e = 0;
  for (; e + 64 <= count; e += 64) {
    uint64_t mask = at_least(values + e, key);
    if (mask == 0) continue;
    found += keep(values + e, mask, first_index + (uint32_t)e, indices + found, selected + found);
  }
  for (; e < count; e++) {
    uint32_t magnitude;
    __builtin_memcpy(&magnitude, values + e, 4);
    if ((magnitude & 0x7fffffff) < key) continue;
    indices[found] = first_index + (uint32_t)e;
    selected[found++] = values[e];
  }
  return found;
}
