internal import Buffers
internal import Kernels

/// The hash functions of a sketch: for every row, which cell an index goes to, and with which sign.
///
/// All follow from the seed, so that all ranks have the same ones; shards, buckets and epochs have their own. Each row has two
/// polynomials modulo P = 2⁶¹ − 1 with random coefficients:
///
///     h(i) = a·i + b                           any two values are independent
///     t(i) = ((c₃·i + c₂)·i + c₁)·i + c₀       any four values are independent
///
/// The family says how they are used. In both, two indices that may meet in a row do so with probability 1/c (one part in P
/// off), their signs are independent, an estimate is unbiased, and its variance in one row is at most ‖x‖²/c, whatever the vector is.
///
/// Source: Charikar, Chen, Farach-Colton 2002, "Finding frequent items in data streams"; algorithms §2.1.
public struct SketchHashes: Hashable, Sendable {
  /// How the two polynomials of a row become cells and signs.
  public enum Family: String, CaseIterable, Sendable {
    /// Every index by itself: cell h(i) mod c, sign + where t(i) is odd (Count Sketch as it is published).
    case mersenne61
    /// Blocks of B consecutive indices lie side by side in a window that starts anywhere in the row and wraps around its end, so
    /// that the processor moves whole vectors. For block n, with κ = t(n):
    ///
    ///     cell of index B·n + e:   (⌊κ·c/2⁶¹⌋ + e) mod c
    ///     sign of it:              − where bit e mod 64 of word ⌊e/64⌋ differs from the lowest bit of h(n)
    ///
    /// The words are the numbers that splitmix64 gives from the seed κ. Indices of one block never meet, wherever the stride of the heavy ones lies; those of
    /// two blocks meet with probability 1/c because the starts are independent. Collisions of neighbours come together: sums over
    /// many indices have the same mean as with single hashes, but scatter more.
    case block
  }

  /// How the polynomials are used.
  public let family: Family
  /// The number of rows r, odd, at most ``mostRows``.
  public let rows: Int
  /// The number of cells c of a row.
  public let columns: Int
  /// The polynomials of each row.
  package let polynomials: [Polynomials]

  /// Rows that one shard has coefficients for.
  public static let mostRows = 21
  /// The fewest columns that the family ``Family/block`` takes.
  public static let fewestBlockColumns = 256
  /// The indices B of a block: 256, or 1024 where there are 16 384 columns or more, or 4096 where there are 262 144 or more.
  ///
  /// Long windows are faster in memory, and short ones spread better over few columns: a row has 64 windows at least, but for the
  /// smallest.
  public var blockLength: Int { columns < 1 << 14 ? 256 : columns < 1 << 18 ? 1024 : 4096 }

  /// The functions of one shard's sketch; ranks that give the same arguments have the same functions.
  ///
  /// The number of rows is odd, at most ``mostRows`` (an even number has no median); that of columns at least 1, and at least
  /// ``fewestBlockColumns`` for ``Family/block``. `shard` and `bucket` tell the sketches of a run apart, `epoch` counts changes of the
  /// functions within a run.
  public init(
    _ family: Family = .mersenne61, rows: Int, columns: Int, seed: UInt64, shard: Int = 0, bucket: Int = 0, epoch: Int = 0
  ) throws(SketchError) {
    try Self.check(rows: rows, columns: columns)
    guard family != .block || columns >= Self.fewestBlockColumns else {
      throw SketchError(
        "the hash family 'block' takes \(Self.fewestBlockColumns) columns or more, not \(columns); 'mersenne61' takes any number"
      )
    }
    (self.family, self.rows, self.columns) = (family, rows, columns)
    let random = Philox(seed: seed, purpose: .sketchHashes, step: epoch)
    polynomials = (0..<rows).map { row in
      let numbers = (0..<3).flatMap { pair -> [UInt64] in
        let words = random.words(quad: shard * 64 + row * 3 + pair, tensor: bucket)
        return [(words[0], words[1]), (words[2], words[3])].map { high, low in
          let number = (UInt64(high) << 32 | UInt64(low)) >> 3
          return number == Mersenne61.prime ? 0 : number
        }
      }
      return Polynomials(affine: (numbers[0], numbers[1]), cubic: (numbers[2], numbers[3], numbers[4], numbers[5]))
    }
  }

  static func check(rows: Int, columns: Int) throws(SketchError) {
    guard rows > 0, rows % 2 == 1, rows <= mostRows else {
      throw SketchError("a sketch has an odd number of rows, 1 to \(mostRows), not \(rows): its estimate is a median")
    }
    guard columns > 0, columns <= 1 << 31 else { throw SketchError("a sketch has 1 to 2³¹ columns, not \(columns)") }
  }

  /// The cell, 0..<columns, that index `index` goes to in row `row`.
  public func cell(_ index: Int, row: Int) -> Int {
    let polynomials = polynomials[row]
    switch family {
    case .mersenne61: return Int(polynomials.affine(UInt64(index)) % UInt64(columns))
    case .block:
      let block = BlockHash(polynomials, block: index / blockLength, columns: columns)
      return (block.start + index % blockLength) % columns
    }
  }

  /// Whether index `index` is subtracted in row `row`, not added.
  public func isNegative(_ index: Int, row: Int) -> Bool {
    let polynomials = polynomials[row]
    switch family {
    case .mersenne61: return polynomials.cubic(UInt64(index)) & 1 == 0
    case .block:
      let (block, e) = index.quotientAndRemainder(dividingBy: blockLength)
      return BlockHash(polynomials, block: block, columns: columns).signs(word: e / 64) >> UInt64(e % 64) & 1 == 1
    }
  }
}

/// The two polynomials of a row.
package struct Polynomials: Hashable, Sendable {
  /// a and b, then c₃, c₂, c₁, c₀.
  package let coefficients: [UInt64]
  private let a, b, c3, c2, c1, c0: UInt64

  package init(affine: (UInt64, UInt64), cubic: (UInt64, UInt64, UInt64, UInt64)) {
    (a, b) = affine
    (c3, c2, c1, c0) = cubic
    coefficients = [a, b, c3, c2, c1, c0]
  }

  /// h(x) for x < P.
  @inline(__always)
  package func affine(_ x: UInt64) -> UInt64 { Mersenne61.add(Mersenne61.multiply(a, x), b) }

  /// t(x) for x < P.
  @inline(__always)
  package func cubic(_ x: UInt64) -> UInt64 {
    var value = Mersenne61.add(Mersenne61.multiply(c3, x), c2)
    value = Mersenne61.add(Mersenne61.multiply(value, x), c1)
    return Mersenne61.add(Mersenne61.multiply(value, x), c0)
  }
}

/// Where a block lies in a row, and its signs.
struct BlockHash {
  /// The cell of its first index.
  let start: Int
  /// What its signs follow from: the seed of their words, and what flips all of them.
  let key: UInt64
  let flips: UInt64

  @inline(__always)
  init(_ polynomials: Polynomials, block: Int, columns: Int) {
    key = polynomials.cubic(UInt64(block))
    let product = key.multipliedFullWidth(by: UInt64(columns))
    start = Int(product.high &<< 3 | product.low &>> 61)
    flips = 0 &- (polynomials.affine(UInt64(block)) & 1)
  }

  /// The signs of the indices 64·word to 64·word + 63 of the block; 1 is minus.
  @inline(__always)
  func signs(word: Int) -> UInt64 { BlockSigns.word(word, of: key) ^ flips }
}

/// What is wrong with the sizes of a sketch or a selection, in one sentence without a full stop.
public struct SketchError: Error, Hashable, CustomStringConvertible {
  public let description: String
  /// An error that says `description`.
  public init(_ description: String) { self.description = description }
}
