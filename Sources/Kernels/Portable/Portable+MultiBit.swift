/// The loops of the codec `MultiBit` for one number of bits.
protocol MultiBitKernel: SendableMetatype {
  /// Writes the codes of a group and leaves the new residual.
  static func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ scale: Scale,
    into codes: UnsafeMutableRawPointer)
  /// Sets `values` to the decoded group.
  static func decode(
    _ codes: UnsafeRawPointer, _ count: Int, _ scale: Scale, into values: UnsafeMutablePointer<Float>)
  /// Adds the decoded group to `values`.
  static func decode(
    _ codes: UnsafeRawPointer, _ count: Int, _ scale: Scale, addingTo values: UnsafeMutablePointer<Float>)
}

/// How the codes of 32 values lie in words.
protocol Packing {
  /// The bits of a code; as many words hold 32 codes.
  static var bits: Int { get }
  /// Writes the codes of 32 values.
  static func store(_ codes: CodeLanes, to words: UnsafeMutableRawPointer)
  /// Reads the codes of 32 values.
  static func load(_ words: UnsafeRawPointer) -> CodeLanes
}

/// The codes of 32 values.
struct CodeLanes {
  var low: Portable.Bits
  var high: Portable.Bits
}

enum PackedLanes<Words: Packing>: MultiBitKernel {
  /// Above all codes; from here to twice as much, consecutive integers are consecutive bit patterns.
  private static var shift: Portable.Half { Portable.Half(repeating: 0x1p23) }

  static func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ scale: Scale,
    into codes: UnsafeMutableRawPointer
  ) {
    let whole = count / 32 * 32
    for start in stride(from: 0, to: whole, by: 32) {
      let v = Portable.sumOfTwo(Portable.load(gradient + start), Portable.load(residual + start))
      let block = CodeLanes(low: code(v.low, scale), high: code(v.high, scale))
      Words.store(block, to: codes + start / 32 * (4 * Words.bits))
      Portable.store(v - values(block, scale), to: residual + start)
    }
    guard whole < count else { return }
    let rest = count - whole
    let v = Portable.sumOfTwo(
      Portable.loadPartially(gradient + whole, count: rest), Portable.loadPartially(residual + whole, count: rest))
    let block = CodeLanes(low: code(v.low, scale), high: code(v.high, scale))
    storePartially(block, count: rest, to: codes + whole / 32 * (4 * Words.bits))
    Portable.storePartially(v - values(block, scale), to: residual + whole, count: rest)
  }

  static func decode(
    _ codes: UnsafeRawPointer, _ count: Int, _ scale: Scale, into values: UnsafeMutablePointer<Float>
  ) {
    let whole = count / 32 * 32
    for start in stride(from: 0, to: whole, by: 32) {
      Portable.store(self.values(Words.load(codes + start / 32 * (4 * Words.bits)), scale), to: values + start)
    }
    guard whole < count else { return }
    let rest = self.values(loadPartially(codes + whole / 32 * (4 * Words.bits), count: count - whole), scale)
    Portable.storePartially(rest, to: values + whole, count: count - whole)
  }

  static func decode(
    _ codes: UnsafeRawPointer, _ count: Int, _ scale: Scale, addingTo values: UnsafeMutablePointer<Float>
  ) {
    let whole = count / 32 * 32
    for start in stride(from: 0, to: whole, by: 32) {
      let block = self.values(Words.load(codes + start / 32 * (4 * Words.bits)), scale)
      Portable.store(Portable.load(values + start) + block, to: values + start)
    }
    guard whole < count else { return }
    let rest = self.values(loadPartially(codes + whole / 32 * (4 * Words.bits), count: count - whole), scale)
    Portable.storePartially(
      Portable.loadPartially(values + whole, count: count - whole) + rest, to: values + whole, count: count - whole)
  }

  /// The codes of sixteen values.
  @inline(__always)
  private static func code(_ v: Portable.Half, _ scale: Scale) -> Portable.Bits {
    let (low, high, top) = (
      Portable.Half(repeating: scale.low), Portable.Half(repeating: scale.high), Portable.Half(repeating: scale.top)
    )
    let slot = (v - low) * Portable.Half(repeating: scale.slots)
    // Rounded to an integer by an addition, then corrected to the one below: vectors have no conversion that is fast everywhere.
    let near = (slot + shift) - shift
    var floor = near - Portable.Half.zero.replacing(with: 1, where: near .> slot)
    floor.replace(with: top - 1, where: floor .> top - 1)
    floor.replace(with: Portable.Half.zero, where: v .<= low)
    floor.replace(with: top, where: v .>= high)
    // Where all is sent as zero, both ends are zero and no value has a slot.
    floor.replace(with: Portable.Half.zero, where: low .>= high)
    return unsafeBitCast(floor + shift, to: Portable.Bits.self) & Portable.Bits(repeating: 0xFFFF)
  }

  /// What sixteen codes decode to: the encoder calls this too, so that both sides have the same bits.
  @inline(__always)
  private static func value(_ codes: Portable.Bits, _ scale: Scale) -> Portable.Half {
    let number = unsafeBitCast(codes | unsafeBitCast(shift, to: Portable.Bits.self), to: Portable.Half.self) - shift
    return Portable.Half(repeating: scale.low) + (number + 0.5) * Portable.Half(repeating: scale.width)
  }

  @inline(__always)
  private static func values(_ codes: CodeLanes, _ scale: Scale) -> Portable.Lanes {
    Portable.Lanes(low: value(codes.low, scale), high: value(codes.high, scale))
  }

  /// The words of a block of fewer than 32 values.
  @inline(never)
  private static func storePartially(_ codes: CodeLanes, count: Int, to words: UnsafeMutableRawPointer) {
    let wordCount = (count * Words.bits + 31) / 32
    for word in 0..<wordCount {
      var bits: UInt32 = 0
      for (slot, e) in stride(from: word, to: count, by: wordCount).enumerated() {
        bits |= (e < 16 ? codes.low[e] : codes.high[e - 16]) << UInt32(slot * Words.bits)
      }
      words.storeBytes(of: bits.littleEndian, toByteOffset: 4 * word, as: UInt32.self)
    }
  }

  /// The codes of a block of fewer than 32 values, the others 0.
  @inline(never)
  private static func loadPartially(_ words: UnsafeRawPointer, count: Int) -> CodeLanes {
    let wordCount = (count * Words.bits + 31) / 32
    let mask = UInt32(1) << UInt32(Words.bits) - 1
    var codes = CodeLanes(low: .zero, high: .zero)
    for word in 0..<wordCount {
      let bits = UInt32(littleEndian: words.load(fromByteOffset: 4 * word, as: UInt32.self))
      for (slot, e) in stride(from: word, to: count, by: wordCount).enumerated() {
        let code = bits >> UInt32(slot * Words.bits) & mask
        if e < 16 { codes.low[e] = code } else { codes.high[e - 16] = code }
      }
    }
    return codes
  }
}

extension Portable {
  /// The sum of the squares of gradient + residual, in fp64 over 32 lanes, combined by halves.
  static func sumOfSquares(_ gradient: UnsafePointer<Float>, _ residual: UnsafePointer<Float>, _ count: Int) -> Double {
    var (low, high) = (SIMD16<Double>.zero, SIMD16<Double>.zero)
    for start in stride(from: 0, to: count, by: 32) {
      let rest = count - start
      let v =
        rest >= 32
        ? sumOfTwo(load(gradient + start), load(residual + start))
        : sumOfTwo(loadPartially(gradient + start, count: rest), loadPartially(residual + start, count: rest))
      let (a, b) = (SIMD16<Double>(v.low), SIMD16<Double>(v.high))
      low += a * a
      high += b * b
    }
    return sum(low, high)
  }

  /// The sum of 32 lanes by halves: 16, 8, 4, 2, 1.
  @inline(__always)
  static func sum(_ low: SIMD16<Double>, _ high: SIMD16<Double>) -> Double {
    let sixteen = low + high
    let eight = sixteen.lowHalf + sixteen.highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
  }
}

// MARK: - Packings: code e of 32 lies in word e % bits, from bit bits × ⌊e/bits⌋ on

private typealias Four = SIMD4<UInt32>
private typealias Quarters = (Four, Four, Four, Four)

/// Sixteen bits a value.
enum HalfWords: Packing {
  static let bits = 16

  @inline(__always)
  static func store(_ codes: CodeLanes, to words: UnsafeMutableRawPointer) {
    words.storeBytes(of: codes.low | codes.high &<< Portable.Bits(repeating: 16), as: Portable.Bits.self)
  }

  @inline(__always)
  static func load(_ words: UnsafeRawPointer) -> CodeLanes {
    let all = words.loadUnaligned(as: Portable.Bits.self)
    return CodeLanes(low: all & Portable.Bits(repeating: 0xFFFF), high: all &>> Portable.Bits(repeating: 16))
  }
}

/// Eight bits a value.
enum Octets: Packing {
  static let bits = 8
  private typealias Eight = SIMD8<UInt32>

  @inline(__always)
  static func store(_ codes: CodeLanes, to words: UnsafeMutableRawPointer) {
    let low = unsafeBitCast(codes.low, to: (Eight, Eight).self)
    let high = unsafeBitCast(codes.high, to: (Eight, Eight).self)
    let first = low.0 | low.1 &<< Eight(repeating: 8)
    words.storeBytes(
      of: first | high.0 &<< Eight(repeating: 16) | high.1 &<< Eight(repeating: 24), as: Eight.self)
  }

  @inline(__always)
  static func load(_ words: UnsafeRawPointer) -> CodeLanes {
    let all = words.loadUnaligned(as: Eight.self)
    let mask = Eight(repeating: 0xFF)
    let low = (all & mask, all &>> Eight(repeating: 8) & mask)
    let high = (all &>> Eight(repeating: 16) & mask, all &>> Eight(repeating: 24))
    return CodeLanes(low: unsafeBitCast(low, to: Portable.Bits.self), high: unsafeBitCast(high, to: Portable.Bits.self))
  }
}

/// Four bits a value.
enum Nibbles: Packing {
  static let bits = 4

  @inline(__always)
  static func store(_ codes: CodeLanes, to words: UnsafeMutableRawPointer) {
    words.storeBytes(of: joinQuarters(codes), as: Four.self)
  }

  @inline(__always)
  static func load(_ words: UnsafeRawPointer) -> CodeLanes {
    splitQuarters(words.loadUnaligned(as: Four.self), mask: 0xF)
  }
}

/// Two bits a value.
enum PairsOfBits: Packing {
  static let bits = 2

  @inline(__always)
  static func store(_ codes: CodeLanes, to words: UnsafeMutableRawPointer) {
    let two = unsafeBitCast(joinQuarters(codes), to: (UInt64, UInt64).self)
    words.storeBytes(of: two.0 | two.1 &<< 2, as: UInt64.self)
  }

  @inline(__always)
  static func load(_ words: UnsafeRawPointer) -> CodeLanes {
    let all = words.loadUnaligned(as: UInt64.self)
    return splitQuarters(unsafeBitCast((all, all &>> 2), to: Four.self), mask: 0x3)
  }
}

/// Lane l with the codes l, l + 4, …, l + 28, each four bits further.
@inline(__always)
private func joinQuarters(_ codes: CodeLanes) -> Four {
  let (low, high) = (unsafeBitCast(codes.low, to: Quarters.self), unsafeBitCast(codes.high, to: Quarters.self))
  let first = (low.0 | low.1 &<< Four(repeating: 4)) | (low.2 &<< Four(repeating: 8) | low.3 &<< Four(repeating: 12))
  let second =
    (high.0 &<< Four(repeating: 16) | high.1 &<< Four(repeating: 20))
    | (high.2 &<< Four(repeating: 24) | high.3 &<< Four(repeating: 28))
  return first | second
}

/// The codes l, l + 4, …, l + 28 of lane l.
@inline(__always)
private func splitQuarters(_ all: Four, mask: UInt32) -> CodeLanes {
  let mask = Four(repeating: mask)
  let low: Quarters = (
    all & mask, all &>> Four(repeating: 4) & mask, all &>> Four(repeating: 8) & mask, all &>> Four(repeating: 12) & mask
  )
  let high: Quarters = (
    all &>> Four(repeating: 16) & mask, all &>> Four(repeating: 20) & mask, all &>> Four(repeating: 24) & mask,
    all &>> Four(repeating: 28) & mask
  )
  return CodeLanes(low: unsafeBitCast(low, to: Portable.Bits.self), high: unsafeBitCast(high, to: Portable.Bits.self))
}
