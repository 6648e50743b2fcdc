internal import Buffers
internal import Kernels

/// The integers of ``QSGD`` in as many bits as they need, `qsgd:code=elias`.
///
/// A stream of bits: fp32 ν; ω(1 + the number of integers that are not 0); and for each of them ω(the distance to the one before), a bit
/// for its sign, and ω(its magnitude). ω is Elias's omega code. A code is at most as long as if no integer were 0 and all were s.
///
/// Integer by integer: some twenty times slower than equal bits.
///
/// Source: Alistarh et al. 2017, appendix A.2; algorithms §5.1, A9.
/// - Cost: With s = √n about 2.8 n + 32 bits.
struct EliasQSGD: SparseCodec {
  /// The same in 16 bits a value.
  let dense: QSGD
  let name = "qsgd"
  let hasVaryingLength = true
  let keepsRemainder = false
  let isUnbiased = true
  var grouping: Grouping { dense.grouping }
  private var levels: Int { dense.loops.levels }
  var specification: String {
    "qsgd:levels=\(levels),norm=\(dense.norm.rawValue),bucket=\(grouping),code=elias,feedback=false"
  }

  func codeByteCount(of count: Int) -> Int {
    let perValue = EliasOmega(1).bitCount + 1 + EliasOmega(levels).bitCount
    // A gap of g takes fewer bits than g integers do.
    return (32 + EliasOmega(count + 1).bitCount + count * perValue + 31) / 32 * 4
  }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    withUnsafeTemporaryAllocation(byteCount: dense.codeByteCount(of: count), alignment: 64) { room -> Int? in
      guard let integers = room.baseAddress,
        dense.encode(gradient: gradient, residual: residual, count: count, into: integers, context: context) != nil
      else { return nil }
      var writer = BitWriter(code)
      writer.write(UInt64(integers.load(as: UInt32.self)), 32)
      let read = { GridLoops.integer(at: $0, of: integers + 4, count: count) }
      let others = (0..<count).reduce(0) { $0 + (read($1) == 0 ? 0 : 1) }
      guard others > 0 else { return 0 }
      EliasOmega(others + 1).write(to: &writer)
      var last = -1
      for place in 0..<count {
        let integer = read(place)
        guard integer != 0 else { continue }
        EliasOmega(place - last).write(to: &writer)
        writer.write(integer < 0 ? 1 : 0, 1)
        EliasOmega(abs(integer)).write(to: &writer)
        last = place
      }
      return writer.finish()
    }
  }

  @inline(__always)
  func read(
    _ code: UnsafeRawPointer, _ byteCount: Int, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void
  ) -> Bool {
    var reader = BitReader(code, byteCount: byteCount)
    let scale = Float(bitPattern: UInt32(reader.read(32)))
    let inverse = 1 / Float(levels)
    guard let others = EliasOmega.read(from: &reader, atMost: count + 1), others > 1 else { return false }
    var place = -1
    for _ in 1..<others {
      guard let gap = EliasOmega.read(from: &reader, atMost: count - 1 - place) else { return false }
      let isNegative = reader.read(1) == 1
      guard let integer = EliasOmega.read(from: &reader, atMost: levels) else { return false }
      place += gap
      body(place, (Float(isNegative ? -integer : integer) * inverse) * scale)
    }
    return reader.isAtEnd
  }
}

/// Elias's omega code of a number from 1 on.
///
/// A 0 ends it; before it stand, outermost last, the number in binary, the number of its digits but one in binary, and so on down to 2
/// or 3.
struct EliasOmega {
  /// The bits, the first one lowest, and their number.
  private(set) var bits: UInt64 = 0
  private(set) var bitCount = 1

  /// The code of `number`, below 2³².
  init(_ number: Int) {
    var rest = number
    while rest > 1 {
      let digits = Int.bitWidth - rest.leadingZeroBitCount
      var binary: UInt64 = 0
      for digit in 0..<digits where rest >> digit & 1 == 1 { binary |= 1 << UInt64(digits - 1 - digit) }
      bits = bits << UInt64(digits) | binary
      bitCount += digits
      rest = digits - 1
    }
  }

  func write(to writer: inout BitWriter) { writer.write(bits, bitCount) }

  /// Reads a number of at most `limit`; nil if there is none.
  static func read(from reader: inout BitReader, atMost limit: Int) -> Int? {
    var number = 1
    while true {
      guard !reader.hasOverrun, number <= limit else { return nil }
      if reader.read(1) == 0 { return reader.hasOverrun ? nil : number }
      guard number < 32 else { return nil }
      var next = 1
      for _ in 0..<number { next = next << 1 | Int(reader.read(1)) }
      number = next
    }
  }
}

extension GridLoops {
  /// The integer of a value among those of `count` in 16 bits each.
  static func integer(at place: Int, of words: UnsafeRawPointer, count: Int) -> Int {
    let block = place / 32, size = (min(32, count - 32 * block) + 1) / 2
    let word = words.load(fromByteOffset: 64 * block + 4 * (place % 32 % size), as: UInt32.self)
    return Int(Int16(truncatingIfNeeded: UInt32(littleEndian: word) >> UInt32(16 * (place % 32 / size))))
  }
}
