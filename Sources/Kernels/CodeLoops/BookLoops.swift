internal import Buffers
internal import CKernels

/// The loops for the levels of a table, with a sign.
///
/// They send fp32 s, and for each value 2 or 4 bits, the highest of which is the sign: the number of the magnitude s · level. A value
/// becomes the level whose limits, in units of s, it lies between.
package struct BookLoops: CodeLoops {
  package let bits: Int
  /// The magnitudes, ascending: 2 or 8.
  private let levels: [Float]
  /// s.
  package var scale: Float = 0
  package let headerByteCount = 4

  /// Creates loops with 2 magnitudes (2 bits) or 8 (4 bits), whose scale is not set.
  package init(levels: [Float]) {
    require(levels.count == 2 || levels.count == 8, "a table has 2 or 8 magnitudes, not \(levels.count)")
    self.levels = levels
    bits = levels.count == 2 ? 2 : 4
  }

  /// Whether every level stands for a finite value.
  package var isFinite: Bool { scale.isFinite && levels.allSatisfy { ($0 * scale).isFinite } }

  private func book(_ scale: Float) -> ck_book {
    var book = ck_book()
    (book.bits, book.scale) = (UInt32(bits), scale)
    withUnsafeMutableBytes(of: &book.levels) { room in
      for (place, level) in levels.enumerated() { room.storeBytes(of: level, toByteOffset: 4 * place, as: Float.self) }
    }
    withUnsafeMutableBytes(of: &book.limits) { room in
      for place in levels.indices.dropFirst() {
        room.storeBytes(of: (levels[place - 1] + levels[place]) / 2, toByteOffset: 4 * place, as: Float.self)
      }
    }
    return book
  }

  package func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) {
    code.store(scale, at: 0)
    withUnsafePointer(to: book(scale)) {
      ck_codes().pointee.book_encode(gradient, residual, count, $0, code + headerByteCount)
    }
  }

  package func decode(_ code: UnsafeRawPointer, count: Int, into values: UnsafeMutablePointer<Float>, _ mode: DecodingMode) {
    withUnsafePointer(to: book(code.float(at: 0))) {
      ck_codes().pointee.book_decode(code + headerByteCount, count, $0, values, mode.rawValue)
    }
  }
}
