internal import Buffers
internal import Kernels

/// Many values at once as a multiple of one of a few random directions, `vector:form=nearest` and `form=unbiased`.
///
///     fp32    p for each `dimension` values
///     codes   for each of them the number of a direction c, in `bits` bits, low ones first
///
/// What arrives is p c. With `nearest`, c is the direction with the largest |⟨v, c⟩| and p = ⟨v, c⟩: a contraction, whose loss stays in the
/// residual. With `unbiased`, v = Σ w_j c_j with the least weights w; c_j is drawn with probability |w_j|/‖w‖₁ and p = ±‖w‖₁, which is
/// right on average, with an error of up to some 2^bits times the squared norm, and leaves no residual.
///
/// Source: Gandikota et al. 2021, "vqSGD"; Dai et al. 2019, "Hyper-sphere quantization"; algorithms §5.5 (a), (b).
/// - Cost: 4⌈n/dimension⌉ + 4⌈⌈n/dimension⌉ bits/32⌉ bytes per group; 2^bits products and sums per value.
struct DirectionVectors: Codec {
  let name = "vector"
  let isIdentity = false
  let grouping: Grouping
  let book: VectorBook
  /// The weights of a vector, one row for each direction, if directions are drawn; otherwise empty.
  let weights: [Float]
  var isUnbiased: Bool { !weights.isEmpty }
  var keepsRemainder: Bool { weights.isEmpty }
  var specification: String {
    "vector:form=\(isUnbiased ? "unbiased" : "nearest"),dimension=\(book.dimension),bits=\(book.bits),group=\(grouping)"
  }

  func codeByteCount(of count: Int) -> Int {
    let vectors = book.vectorCount(of: count)
    return 4 * vectors + (vectors * book.bits + 31) / 32 * 4
  }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard count > 0 else { return 0 }
    let (dimension, vectors) = (book.dimension, book.vectorCount(of: count))
    let random = context.random(.vectorChoice)
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: vectors * (dimension + 1) + book.count) { room -> Int? in
      withUnsafeTemporaryAllocation(of: UInt16.self, capacity: vectors) { chosen -> Int? in
        let v = room.baseAddress!, multiples = v + vectors * dimension, products = multiples + vectors
        addResidual(gradient, residual, times: 1, count: count, into: v)
        for i in count..<vectors * dimension { v[i] = 0 }
        guard allFinite(v, count: count, limit: .greatestFiniteMagnitude) else { return nil }
        for vector in 0..<vectors {
          let values = v + vector * dimension
          let found = isUnbiased ? draw(values, products, random.uniform(vector)) : nearest(values, products)
          guard found.multiple.isFinite else { return nil }
          (chosen[vector], multiples[vector]) = (UInt16(truncatingIfNeeded: found.direction), found.multiple + 0)
        }
        for i in 0..<count {
          let place = Int(chosen[i / dimension]) * dimension + i % dimension
          v[i] = keepsRemainder ? v[i] - (multiples[i / dimension] * book.vectors[place] + 0) : 0
        }
        guard allFinite(v, count: count, limit: .greatestFiniteMagnitude) else { return nil }
        for vector in 0..<vectors {
          code.storeBytes(of: multiples[vector].bitPattern.littleEndian, toByteOffset: 4 * vector, as: UInt32.self)
        }
        book.write(chosen, behind: 4 * vectors, to: code, byteCount: codeByteCount(of: count))
        residual.update(from: v, count: count)
        return codeByteCount(of: count)
      }
    }
  }

  /// The direction with the largest product, the first of equal ones, and the product.
  private func nearest(
    _ values: UnsafePointer<Float>, _ products: UnsafeMutablePointer<Float>
  ) -> (direction: Int, multiple: Float) {
    book.multiply(values, into: products)
    var found = 0
    for direction in 1..<book.count where products[direction].magnitude > products[found].magnitude { found = direction }
    return (found, products[found])
  }

  /// A direction by chance: the first at which the weights so far exceed a random share of all.
  private func draw(
    _ values: UnsafePointer<Float>, _ products: UnsafeMutablePointer<Float>, _ share: Float
  ) -> (direction: Int, multiple: Float) {
    var total = 0.0
    weights.withUnsafeBufferPointer { weights in
      for direction in 0..<book.count {
        products[direction] = innerProduct(weights.baseAddress! + direction * book.dimension, values, count: book.dimension)
        total += Double(products[direction].magnitude)
      }
    }
    var (passed, last) = (0.0, 0)
    for direction in 0..<book.count where products[direction] != 0 {
      passed += Double(products[direction].magnitude)
      last = direction
      if Double(share) * total < passed { break }
    }
    return (last, Float(total) * (products[last] < 0 ? -1 : 1))
  }

  @inline(__always)
  private func read(_ code: UnsafeRawPointer, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void) {
    let vectors = book.vectorCount(of: count)
    var reader = BitReader(code + 4 * vectors, byteCount: codeByteCount(of: count) - 4 * vectors)
    book.vectors.withUnsafeBufferPointer { directions in
      for vector in 0..<vectors {
        let multiple = Float(bitPattern: UInt32(littleEndian: code.load(fromByteOffset: 4 * vector, as: UInt32.self)))
        let first = Int(reader.read(book.bits)) * book.dimension
        let start = vector * book.dimension
        for k in 0..<min(book.dimension, count - start) { body(start + k, multiple * directions[first + k] + 0) }
      }
    }
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { read(code, count) { values[$0] = $1 } }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    read(code, count) { values[$0] += $1 }
  }
}
