internal import Buffers
internal import Kernels

/// Several values at once as the nearest vector of a book, `vector:form=product`.
///
///     fp32    s
///     codes   for each `dimension` values the number of a vector, in `bits` bits, low ones first
///
/// Vectors are chosen for v over its root mean square, from a book that loses least of normal values; s is then the factor that loses
/// least (least squares), so that the code is a contraction. What is lost stays in the residual. The last vector stands for what is left
/// of the group, and zeros.
///
/// A vector of four values in four bits loses less than four signs and a mean: points of a space are covered better than its axes.
///
/// Source: Gray 1984, "Vector quantization"; Yu et al. 2018, "GradiVeQ", for gradients; algorithms §5.5 (d).
/// - Cost: 4 + 4⌈⌈n/dimension⌉ bits/32⌉ bytes per group; 2^bits products and sums per value.
struct ProductVectors: Codec {
  let name = "vector"
  let isIdentity = false
  let grouping: Grouping
  let book: VectorBook
  var specification: String { "vector:form=product,dimension=\(book.dimension),bits=\(book.bits),group=\(grouping)" }

  func codeByteCount(of count: Int) -> Int { count == 0 ? 0 : 4 + (book.vectorCount(of: count) * book.bits + 31) / 32 * 4 }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard count > 0 else { return 0 }
    let (dimension, vectors) = (book.dimension, book.vectorCount(of: count))
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: vectors * dimension + dimension + book.count) {
      room -> Int? in
      withUnsafeTemporaryAllocation(of: UInt16.self, capacity: vectors) { chosen -> Int? in
        let v = room.baseAddress!, scaled = v + vectors * dimension, products = scaled + dimension
        addResidual(gradient, residual, times: 1, count: count, into: v)
        for i in count..<vectors * dimension { v[i] = 0 }
        guard allFinite(v, count: count, limit: .greatestFiniteMagnitude) else { return nil }
        let inverse = Self.inverse(of: (sumOfSquares(v, count: count) / Double(count)).squareRoot())
        var (product, square) = (0.0, 0.0)
        for vector in 0..<vectors {
          for k in 0..<dimension { scaled[k] = Float(Double(v[vector * dimension + k]) * inverse) }
          let found = book.nearest(to: scaled, products)
          chosen[vector] = UInt16(truncatingIfNeeded: found)
          for k in 0..<min(dimension, count - vector * dimension) {
            let (x, c) = (Double(v[vector * dimension + k]), Double(book.vectors[found * dimension + k]))
            product += x * c
            square += c * c
          }
        }
        let scale = square > 0 ? Float(product / square) + 0 : 0
        guard scale.isFinite, isDecodable(scale) else { return nil }
        for i in 0..<count { v[i] -= arriving(Int(chosen[i / dimension]), i % dimension, scale) }
        guard allFinite(v, count: count, limit: .greatestFiniteMagnitude) else { return nil }
        code.storeBytes(of: scale.bitPattern.littleEndian, as: UInt32.self)
        book.write(chosen, behind: 4, to: code, byteCount: codeByteCount(of: count))
        residual.update(from: v, count: count)
        return codeByteCount(of: count)
      }
    }
  }

  /// 1/x, or 0 where there is none.
  private static func inverse(of x: Double) -> Double { x > 0 ? 1 / x : 0 }

  /// Whether no value of a vector overflows.
  private func isDecodable(_ scale: Float) -> Bool { book.vectors.allSatisfy { (scale * $0).isFinite } }

  @inline(__always)
  private func arriving(_ vector: Int, _ k: Int, _ scale: Float) -> Float {
    scale * book.vectors[vector * book.dimension + k] + 0
  }

  @inline(__always)
  private func read(_ code: UnsafeRawPointer, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void) {
    guard count > 0 else { return }
    let scale = Float(bitPattern: UInt32(littleEndian: code.load(as: UInt32.self)))
    var reader = BitReader(code + 4, byteCount: codeByteCount(of: count) - 4)
    book.vectors.withUnsafeBufferPointer { vectors in
      for start in stride(from: 0, to: count, by: book.dimension) {
        let first = Int(reader.read(book.bits)) * book.dimension
        for k in 0..<min(book.dimension, count - start) { body(start + k, scale * vectors[first + k] + 0) }
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
