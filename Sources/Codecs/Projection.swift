internal import Buffers
internal import Kernels

/// Random projections of groups, `projection`: q numbers z for n values, by a matrix that all ranks share, so that codes can be added.
///
///     uint32      where the random numbers of the group begin
///     q fp32      z, piece by piece
///
/// A group is cut into pieces of N values, N a power of two, the longest first. For each, R = S H D changes signs at random (D), mixes
/// the values by the Hadamard transform (H, entries ±1), and takes a share of the N results, drawn at random (S). So R has q rows
/// of entries ±1, as if these were drawn one by one; but it costs N log N operations instead of q N, and its rows are orthogonal,
/// R Rᵀ = N. The error does not depend on the length of a group: 4 096 values stay in the nearest cache, and the word in front
/// of z is little beside its numbers.
///
/// With `feedback=true`, z = R v/N. What arrives, y = Rᵀz, is the projection of v onto the rows, with q/N of the squared norm on average;
/// v − y stays in the residual. Without, z = R v/q: what arrives is right on average, with an error of N/q − 1 times the squared
/// norm, and nothing stays. R is drawn anew for every exchange and group. A sum of what ranks send lies in the span of the rows, and an
/// owner's code of it loses nothing.
///
/// Source: algorithms §6.2; Ailon and Chazelle 2009, "The fast Johnson-Lindenstrauss transform", for R.
/// - Cost: 4 + 4q bytes per group; a transform to encode, one more with a residual, and one to decode.
struct Projection: Codec {
  let name = "projection"
  let isIdentity = false
  /// A code has little of a group, as one of some values has.
  let isSparse = true
  let specification: String
  var grouping: Grouping { .elements(chunk) }
  let keepsRemainder: Bool
  var isUnbiased: Bool { !keepsRemainder }
  let addsBeforeDecoding = true
  var exchangesUntilSent: Double { keepsRemainder ? Double(chunk) / Double(k.count(of: chunk)) : 1 }
  private let k: Amount
  private let chunk: Int

  private init(_ specification: Specification) throws(SpecificationError) {
    chunk = try specification.integer("chunk", default: 4096, in: 1...1 << 16)
    k = try specification.amount("k", default: "1/64", ofChunk: chunk)
    keepsRemainder = try specification.flag("feedback", default: true)
    self.specification = "projection:k=\(k),chunk=\(chunk),feedback=\(keepsRemainder)"
  }

  // MARK: The matrix

  /// A piece of a group: its values, and the numbers that stand for them.
  private struct Piece {
    /// The values are from `first` to `first` + 2^`stages`.
    let (first, stages): (Int, Int)
    /// Where its numbers begin, and how many they are.
    let (place, drawn): (Int, Int)
    var count: Int { 1 << stages }
  }

  /// Calls `body` with the pieces of a group, and with the number of numbers so far at the end.
  @inline(__always)
  @discardableResult
  private func forEachPiece(of count: Int, _ body: (Piece) -> Void) -> Int {
    var (first, place) = (0, 0)
    while first < count {
      let stages = Int.bitWidth - 1 - (count - first).leadingZeroBitCount
      let drawn = k.share(of: 1 << stages, in: chunk)
      body(Piece(first: first, stages: stages, place: place, drawn: drawn))
      (first, place) = (first + 1 << stages, place + drawn)
    }
    return place
  }

  /// q of a group.
  private func sentCount(of count: Int) -> Int { forEachPiece(of: count) { _ in } }

  func codeByteCount(of count: Int) -> Int { count == 0 ? 0 : 4 + 4 * sentCount(of: count) }

  /// The random numbers of a piece: of its rows, and, as those of tensor 1, of its signs.
  private func numbers(_ piece: Piece, from start: UInt32) -> Philox {
    Philox(seed: UInt64(start), purpose: .projection, stream: piece.place)
  }

  /// Sets `flipped` to the values of a piece with the signs of D, times `factor`.
  @inline(__always)
  private func flip(
    _ values: UnsafePointer<Float>, times factor: Float = 1, _ piece: Piece, _ numbers: Philox,
    into flipped: UnsafeMutablePointer<Float>
  ) {
    for start in stride(from: 0, to: piece.count, by: 128) {
      let words = numbers.words(quad: start / 128, tensor: 1)
      for part in 0..<4 {
        let (word, first) = (words[part], min(start + 32 * part, piece.count))
        for i in first..<min(first + 32, piece.count) {
          let sign = (word >> UInt32(i & 31)) << 31
          flipped[i] = Float(bitPattern: (values[i] * factor).bitPattern ^ sign)
        }
      }
    }
  }

  /// z of a group, R v/q instead of R v/N if it `isScaled`; `room` is for one piece.
  private func project(
    _ v: UnsafePointer<Float>, count: Int, from start: UInt32, isScaled: Bool, into z: UnsafeMutablePointer<Float>,
    room: UnsafeMutablePointer<Float>
  ) {
    // So that sums of large values are finite.
    let down: Float = allFinite(v, count: count) ? 1 : 0x1p-28
    forEachPiece(of: count) { piece in
      let numbers = numbers(piece, from: start)
      flip(v + piece.first, times: down, piece, numbers, into: room)
      hadamard(room, stages: piece.stages)
      let factor = 1 / (Float(isScaled ? piece.drawn : piece.count) * down)
      RandomSubset.draw(piece.drawn, of: piece.count, by: numbers) { place, row in
        z[piece.place + place] = factor * room[row] + 0
      }
    }
  }

  /// Calls `body` with y = Rᵀz, value by value.
  @inline(__always)
  private func reconstruct(
    _ z: UnsafePointer<Float>, count: Int, from start: UInt32, _ body: (_ place: Int, _ value: Float) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { room in
      let y = room.baseAddress!
      forEachPiece(of: count) { piece in
        let numbers = numbers(piece, from: start)
        y.update(repeating: 0, count: piece.count)
        RandomSubset.draw(piece.drawn, of: piece.count, by: numbers) { place, row in y[row] = z[piece.place + place] }
        hadamard(y, stages: piece.stages)
        flip(y, piece, numbers, into: y)
        for i in 0..<piece.count { body(piece.first + i, y[i] + 0) }
      }
    }
  }

  // MARK: Codes

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard count > 0 else { return 0 }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * count) { memory -> Int? in
      let v = memory.baseAddress!, rest = v + count
      addResidual(gradient, residual, times: 1, count: count, into: v)
      guard allFinite(v, count: count, limit: keepsRemainder ? .greatestFiniteMagnitude : 0x1p100) else { return nil }
      let z = (code + 4).assumingMemoryBound(to: Float.self)
      var shared = context
      shared.stream = 0
      var start = shared.random(.projection).words(quad: 0)[0]
      project(v, count: count, from: start, isScaled: !keepsRemainder && !context.isSum, into: z, room: rest)
      if keepsRemainder || context.isSum { reconstruct(z, count: count, from: start) { rest[$0] = v[$0] - $1 } }
      if keepsRemainder {
        guard allFinite(rest, count: count, limit: .greatestFiniteMagnitude) else { return nil }
        residual.update(from: rest, count: count)
      } else {
        // What an owner sends that is no sum of codes, or has been changed, is not in the span of the rows.
        if context.isSum, sumOfSquares(rest, count: count) > 0x1p-20 * sumOfSquares(v, count: count) {
          start = context.random(.projection).words(quad: 0)[0]
          project(v, count: count, from: start, isScaled: true, into: z, room: rest)
        }
        residual.update(repeating: 0, count: count)
      }
      code.storeBytes(of: start.littleEndian, as: UInt32.self)
      return codeByteCount(of: count)
    }
  }

  private func start(of code: UnsafeRawPointer) -> UInt32 { UInt32(littleEndian: code.load(as: UInt32.self)) }

  private func numbers(of code: UnsafeRawPointer) -> UnsafePointer<Float> { (code + 4).assumingMemoryBound(to: Float.self) }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    guard count > 0 else { return }
    reconstruct(numbers(of: code), count: count, from: start(of: code)) { values[$0] = $1 }
  }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    guard count > 0 else { return }
    reconstruct(numbers(of: code), count: count, from: start(of: code)) { values[$0] += $1 }
  }

  /// Adds the numbers of codes that begin alike, and decodes once; others one after another.
  func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    guard count > 0 else { return }
    let (first, byteCount) = (start(of: codes[0]), codeByteCount(of: count))
    guard (1..<codeCount).allSatisfy({ start(of: codes[$0]) == first }) else {
      decode(codes[0], byteCount: byteCount, count: count, setting: values, streaming: false)
      for k in 1..<codeCount { decode(codes[k], byteCount: byteCount, count: count, addingTo: values) }
      return
    }
    let sentCount = sentCount(of: count)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: sentCount) { sums in
      let z = sums.baseAddress!
      z.update(from: numbers(of: codes[0]), count: sentCount)
      for k in stride(from: 1, to: codeCount, by: 1) { add(numbers(of: codes[k]), count: sentCount, to: z) }
      reconstruct(z, count: count, from: first) { values[$0] = $1 }
    }
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "projection",
    "random mixtures of the values of each chunk, fewer than these, with error feedback or right on average (Ailon, Chazelle 2009)",
    keys: [
      ("k", "mixtures that are sent of a chunk: a number or a share (1/64)"),
      ("chunk", "values of a tensor that are mixed, up to 65536; a power of two is fastest (4096)"),
      ("feedback", "true: the rest is sent later; false: mixtures are multiplied, so that they are right on average (true)"),
    ]
  ) { try Projection($0) }
}
