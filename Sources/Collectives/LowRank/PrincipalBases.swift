internal import Buffers
internal import Kernels

/// The orthonormal bases U of the principal components of matrices, and the covariances of rows that they come from.
///
/// A covariance is C = Σ s sᵀ over rows s of a matrix, without taking away their mean, which is small in gradients; U are the eigenvectors
/// of its largest eigenvalues. C is kept divided by 4ᵉ, where 2ᵉ is the power of two in the largest magnitude of a row so far, so that rows
/// of any magnitude fit. A direction of which C knows nothing stays as it was, made orthogonal to the others.
///
/// Each product and sum is rounded separately, so that every processor finds the same bits.
struct PrincipalBases {
  /// The length of a row, and the number of columns of each U.
  let (length, components): (Int, Int)
  /// U of each matrix, column after column.
  let vectors: FloatBuffer
  /// C of each matrix, row after row.
  let covariances: FloatBuffer
  /// e of each C; far below all exponents before the first row.
  let exponents: FloatBuffer

  private static let none: Float = -1000
  /// Eigenvalues that are no larger than that times the largest are the rounding of C.
  private static let least = 0x1p-18

  /// Makes room for `count` bases, which begin with random signs that are made orthonormal.
  init(count: Int, length: Int, components: Int, seed: UInt64) {
    (self.length, self.components) = (length, components)
    vectors = FloatBuffer(count: count * components * length)
    covariances = FloatBuffer(count: count * length * length)
    exponents = FloatBuffer(count: count)
    let philox = Philox(seed: seed, purpose: .lowRank, step: 0)
    for i in 0..<vectors.count { vectors[i] = philox.word(i) & 1 == 0 ? 1 : -1 }
    for index in 0..<count {
      LowRankProducts.orthonormalize(self[index], components, ofLength: length)
      exponents[index] = Self.none
    }
  }

  /// U of matrix `index`.
  subscript(index: Int) -> UnsafeMutablePointer<Float> { vectors.baseAddress + index * components * length }

  /// Adds rows to C of a matrix; rows of which any is not finite are left out.
  func add(_ rows: UnsafePointer<Float>, count: Int, to index: Int) {
    var largest: Float = 0
    for i in 0..<count * length { largest = max(largest, rows[i].magnitude) }
    guard largest > 0, allFinite(rows, count: count * length, limit: .greatestFiniteMagnitude) else { return }
    let covariance = covariances.baseAddress + index * length * length
    let exponent = max(exponents[index], Float(largest.exponent))
    if exponent > exponents[index] {
      let down = Float(sign: .plus, exponent: 2 * Int(exponents[index] - exponent), significand: 1)
      for i in 0..<length * length { covariance[i] *= down }
      exponents[index] = exponent
    }
    let scale = Double(sign: .plus, exponent: -Int(exponent), significand: 1)
    var row = [Float](repeating: 0, count: length)
    for start in stride(from: 0, to: count * length, by: length) {
      for i in 0..<length { row[i] = Float(scale * Double(rows[start + i])) }
      for i in 0..<length { Kernels.add(row[i], times: row, count: length, to: covariance + i * length) }
    }
  }

  /// Finds U of a matrix anew.
  func renew(_ index: Int) {
    let found = SingularValues(covariances.baseAddress + index * length * length, rows: length, columns: length)
    for column in 0..<min(components, length) where found.values[column] > Self.least * found.values[0] {
      for i in 0..<length { self[index][column * length + i] = Float(found.entry(i, of: column)) }
    }
    LowRankProducts.orthonormalize(self[index], components, ofLength: length)
  }

  /// Begins C of all matrices anew.
  func forgetRows() {
    covariances.clear()
    for index in 0..<exponents.count { exponents[index] = Self.none }
  }
}
