internal import Buffers
internal import Kernels
internal import Synchronization

/// The vectors among which a code of several values at once chooses: the same on every processor, and made once.
final class VectorBook: Sendable {
  /// What vectors stand for.
  enum Kind: Hashable { case normal, directions }

  private struct Key: Hashable { let (kind, dimension, bits): (Kind, Int, Int) }
  private static let known = Mutex<[Key: VectorBook]>([:])

  /// The values of a vector.
  let dimension: Int
  /// The bits of the number of a vector.
  let bits: Int
  /// The number of vectors.
  var count: Int { 1 << bits }
  /// The vectors, one after another.
  let vectors: [Float]
  /// The first values of all vectors, then the second ones, and so on.
  private let transposed: [Float]
  /// Half the squared length of each vector.
  private let halfSquares: [Float]

  /// The book of a kind, made at its first use.
  static func shared(_ kind: Kind, dimension: Int, bits: Int) -> VectorBook {
    known.withLock { known in
      let key = Key(kind: kind, dimension: dimension, bits: bits)
      if let book = known[key] { return book }
      let book = VectorBook(kind, dimension: dimension, bits: bits)
      known[key] = book
      return book
    }
  }

  private init(_ kind: Kind, dimension: Int, bits: Int) {
    (self.dimension, self.bits) = (dimension, bits)
    let count = 1 << bits
    let vectors = kind == .normal ? Self.normal(count, dimension) : Self.directions(count, dimension)
    self.vectors = vectors.map { Float($0) }
    transposed = (0..<dimension).flatMap { k in (0..<count).map { Float(vectors[$0 * dimension + k]) } }
    halfSquares = (0..<count).map { vector in
      Float((0..<dimension).reduce(0) { $0 + vectors[vector * dimension + $1] * vectors[vector * dimension + $1] } / 2)
    }
  }

  /// Normal values, each the sum of twelve uniform ones: fp64, without functions that processors round in different ways.
  private static func normalValues(_ count: Int, stream: Int) -> [Double] {
    let random = Philox(seed: 1, purpose: .vectorBook, stream: stream)
    return (0..<count).map { place in (0..<12).reduce(-6.0) { $0 + Double(random.uniform(12 * place + $1)) } }
  }

  /// Random directions: vectors of length 1.
  private static func directions(_ count: Int, _ dimension: Int) -> [Double] {
    var vectors = normalValues(count * dimension, stream: 0)
    for start in stride(from: 0, to: vectors.count, by: dimension) {
      let length = (start..<start + dimension).reduce(0) { $0 + vectors[$1] * vectors[$1] }.squareRoot()
      for i in start..<start + dimension { vectors[i] /= length }
    }
    return vectors
  }

  /// The vectors that lose least of normal values, by Lloyd's iteration over samples (Linde, Buzo and Gray 1980).
  private static func normal(_ count: Int, _ dimension: Int) -> [Double] {
    let samples = normalValues(max(samplesOfVector * count, leastSamples) * dimension, stream: 1)
    var vectors = Array(samples[..<(count * dimension)])
    for _ in 0..<rounds {
      var (sums, counts) = ([Double](repeating: 0, count: vectors.count), [Int](repeating: 0, count: count))
      for start in stride(from: 0, to: samples.count, by: dimension) {
        var (nearest, least) = (0, Double.infinity)
        for vector in 0..<count {
          var distance = 0.0
          for k in 0..<dimension {
            let difference = samples[start + k] - vectors[vector * dimension + k]
            distance += difference * difference
          }
          if distance < least { (nearest, least) = (vector, distance) }
        }
        counts[nearest] += 1
        for k in 0..<dimension { sums[nearest * dimension + k] += samples[start + k] }
      }
      for vector in 0..<count where counts[vector] > 0 {
        for k in 0..<dimension {
          vectors[vector * dimension + k] = sums[vector * dimension + k] / Double(counts[vector])
        }
      }
    }
    return vectors
  }

  private static let samplesOfVector = 32
  private static let leastSamples = 8192
  private static let rounds = 12

  /// The number of vectors that stand for `count` values.
  func vectorCount(of count: Int) -> Int { (count + dimension - 1) / dimension }

  /// Sets `products` to the inner products of `values` with all vectors; there are `dimension` values.
  func multiply(_ values: UnsafePointer<Float>, into products: UnsafeMutablePointer<Float>) {
    products.update(repeating: 0, count: count)
    transposed.withUnsafeBufferPointer { rows in
      for k in 0..<dimension { add(values[k], times: rows.baseAddress! + k * count, count: count, to: products) }
    }
  }

  /// The vector nearest to `values`, the first of equal ones; `products` has room for one number per vector.
  func nearest(to values: UnsafePointer<Float>, _ products: UnsafeMutablePointer<Float>) -> Int {
    multiply(values, into: products)
    var (found, most) = (0, -Float.infinity)
    for vector in 0..<count {
      let score = products[vector] - halfSquares[vector]
      if score > most { (found, most) = (vector, score) }
    }
    return found
  }

  /// The weights w of which Σ w_j c_j is a given vector, as a matrix of one row for each c_j: Cᵀ (C Cᵀ)⁻¹, the least ones.
  ///
  /// By elimination in fp64 with the largest pivot of a column; directions span the space.
  func inverse() -> [Float] {
    let n = dimension
    func entry(_ vector: Int, _ k: Int) -> Double { Double(vectors[vector * n + k]) }
    var square = [Double](repeating: 0, count: n * 2 * n)
    for i in 0..<n {
      for j in 0..<n { square[i * 2 * n + j] = (0..<count).reduce(0) { $0 + entry($1, i) * entry($1, j) } }
      square[i * 2 * n + n + i] = 1
    }
    for column in 0..<n {
      let pivot = (column..<n).max { square[$0 * 2 * n + column].magnitude < square[$1 * 2 * n + column].magnitude }!
      for k in 0..<2 * n where pivot != column { square.swapAt(pivot * 2 * n + k, column * 2 * n + k) }
      let scale = square[column * 2 * n + column]
      for k in 0..<2 * n { square[column * 2 * n + k] /= scale }
      for row in 0..<n where row != column {
        let factor = square[row * 2 * n + column]
        for k in 0..<2 * n { square[row * 2 * n + k] -= factor * square[column * 2 * n + k] }
      }
    }
    return (0..<count).flatMap { vector in
      (0..<n).map { k in Float((0..<n).reduce(0) { $0 + entry(vector, $1) * square[$1 * 2 * n + n + k] }) }
    }
  }

  /// Writes the numbers of vectors behind the first `start` bytes of a code, and zeros up to its end.
  func write(
    _ chosen: UnsafeMutableBufferPointer<UInt16>, behind start: Int, to code: UnsafeMutableRawPointer, byteCount: Int
  ) {
    var writer = BitWriter(code + start)
    for vector in chosen { writer.write(UInt64(vector), bits) }
    let end = start + writer.finish()
    (code + end).initializeMemory(as: UInt8.self, repeating: 0, count: byteCount - end)
  }
}
