import Buffers
import Codecs

/// Codecs for tests of what no codec of the list does: codes that vary in length, and stochastic ones.
enum TestCodecs {
  static let all: [any ComparableCodec] = [Halves(), Dithered(dropsZeros: false), Dithered(dropsZeros: true), Chunks()]
}

/// A codec with a second, plain form.
protocol ComparableCodec: Codec {
  /// What a group is sent as, without a length before it, what arrives and what stays; nil if a value is not finite.
  func transfer(_ v: [Float], _ word: (Int) -> UInt32) -> (byteCount: Int, values: [Float], residual: [Float])?
}

extension ComparableCodec {
  var isIdentity: Bool { false }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { decoded in
      decode(code, byteCount: byteCount, count: count, setting: decoded.baseAddress!, streaming: false)
      for i in 0..<count { values[i] += decoded[i] }
    }
  }
}

/// The upper halves of floats, as many as there are up to the last that is not zero: lengths vary by 2 bytes.
struct Halves: ComparableCodec {
  let name = "halves"
  let specification = "halves"
  let grouping = Grouping.row
  let hasVaryingLength = true

  func codeByteCount(of count: Int) -> Int { (2 * count + 3) / 4 * 4 }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard (0..<count).allSatisfy({ (gradient[$0] + residual[$0]).isFinite }) else { return nil }
    var end = 0
    for i in 0..<count {
      let v = gradient[i] + residual[i]
      let half = UInt16(v.bitPattern >> 16)
      code.storeBytes(of: half, toByteOffset: 2 * i, as: UInt16.self)
      residual[i] = v - Float(bitPattern: UInt32(half) << 16)
      if half & 0x7FFF != 0 { end = i + 1 }
    }
    return 2 * end
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    for i in 0..<count {
      values[i] =
        2 * i < byteCount ? Float(bitPattern: UInt32(code.load(fromByteOffset: 2 * i, as: UInt16.self)) << 16) : 0
    }
  }

  func transfer(_ v: [Float], _ word: (Int) -> UInt32) -> (byteCount: Int, values: [Float], residual: [Float])? {
    guard v.allSatisfy(\.isFinite) else { return nil }
    var values = v.map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) }
    let residual = zip(v, values).map { $0 - $1 }
    let end = (values.lastIndex { $0 != 0 } ?? -1) + 1
    // What is dropped was +0 or −0.
    for i in end..<v.count { values[i] = 0 }
    return (2 * end, values, residual)
  }
}

/// A byte for a value, rounded up or down by chance, on a scale that the largest magnitude of its group sets.
struct Dithered: ComparableCodec {
  let name = "dithered"
  var specification: String { "dithered:drop=\(dropsZeros)" }
  let grouping = Grouping.elements(50)
  /// Whether zeros at the end are not sent.
  let dropsZeros: Bool
  var hasVaryingLength: Bool { dropsZeros }

  func codeByteCount(of count: Int) -> Int { 4 + (count + 3) / 4 * 4 }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard (0..<count).allSatisfy({ (gradient[$0] + residual[$0]).isFinite }) else { return nil }
    let top = (0..<count).reduce(Float(0)) { max($0, (gradient[$1] + residual[$1]).magnitude) }
    let (step, random) = (top / 127, context.random(.stochasticRounding))
    code.initializeMemory(as: UInt8.self, repeating: 0, count: codeByteCount(of: count))
    code.storeBytes(of: step, as: Float.self)
    var end = 0
    for i in 0..<count {
      let v = gradient[i] + residual[i]
      let slots = step > 0 ? v / step : 0
      let below = slots.rounded(.down)
      let q = max(-127, min(127, below + (random.uniform(i) < slots - below ? 1 : 0)))
      code.storeBytes(of: Int8(q), toByteOffset: 4 + i, as: Int8.self)
      residual[i] = v - q * step
      if q != 0 { end = i + 1 }
    }
    return !dropsZeros ? codeByteCount(of: count) : end == 0 ? 0 : 4 + end
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    let step = code.load(as: Float.self)
    for i in 0..<count {
      values[i] = 4 + i < byteCount ? Float(code.load(fromByteOffset: 4 + i, as: Int8.self)) * step : 0
    }
  }

  func transfer(_ v: [Float], _ word: (Int) -> UInt32) -> (byteCount: Int, values: [Float], residual: [Float])? {
    guard v.allSatisfy(\.isFinite) else { return nil }
    let step = v.map(\.magnitude).max()! / 127
    let codes: [Float] = v.enumerated().map { i, v in
      guard step > 0 else { return 0 }
      let below = (v / step).rounded(.down)
      let up = Float(word(i) >> 8) / Float(1 << 24) < v / step - below
      return min(max(up ? below + 1 : below, -127), 127)
    }
    let sent = (codes.lastIndex { $0 != 0 } ?? -1) + 1
    let values = codes.map { Float(Int8($0)) * step }
    return (
      !dropsZeros ? 4 + (v.count + 3) / 4 * 4 : sent == 0 ? 0 : 4 + sent, values, zip(v, codes).map { $0 - $1 * step }
    )
  }
}

/// Signs of the seven largest of 50 values and their mean magnitude: the codec of the list, and in plain code.
struct Chunks: ComparableCodec {
  let base: any Codec
  var name: String { base.name }
  var specification: String { base.specification }
  var grouping: Grouping { base.grouping }
  var hasVaryingLength: Bool { base.hasVaryingLength }

  init() {
    do { base = try codecs.make("chunk-top-k:k=7,chunk=50,index=elias-fano") } catch { fatalError("\(error)") }
  }

  func codeByteCount(of count: Int) -> Int { base.codeByteCount(of: count) }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? { base.encode(gradient: gradient, residual: residual, count: count, into: code, context: context) }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { base.decode(code, byteCount: byteCount, count: count, setting: values, streaming: streaming) }

  func transfer(_ v: [Float], _ word: (Int) -> UInt32) -> (byteCount: Int, values: [Float], residual: [Float])? {
    guard v.allSatisfy(\.isFinite) else { return nil }
    let (n, most) = (v.count, (7 * v.count + 49) / 50)
    let places = largestPlaces(v, most)
    var (values, residual) = ([Float](repeating: 0, count: n), v.map { $0 + 0 })
    guard !places.isEmpty else { return (0, values, residual) }
    let mean = Float(places.reduce(0.0) { $0 + Double(v[$1].magnitude) } / Double(places.count))
    // Eight bits of significand, ties to even.
    let unit = Float(sign: .plus, exponent: max(mean.exponent, -126) - 7, significand: 1)
    let magnitude = (mean / unit).rounded(.toNearestOrEven) * unit
    guard magnitude > 0 else { return (0, values, residual) }
    for place in places {
      values[place] = v[place] < 0 ? -magnitude : magnitude
      residual[place] = v[place] - values[place]
    }
    let c = places.count
    let low = (0..<10).min { c * ($0 + 1) + (n - 1) >> $0 < c * ($1 + 1) + (n - 1) >> $1 }!
    let counter = (1...7).first { 1 << $0 > most }!
    return ((counter + c * (low + 1) + places.last! >> low + 16 + c + 7) / 8, values, residual)
  }
}

/// The places of the `k` largest magnitudes, ascending: zeros never, and of equal ones the first.
func largestPlaces(_ v: [Float], _ k: Int) -> [Int] {
  let keys = v.indices.map { UInt64(v[$0].magnitude.bitPattern) << 32 | UInt64(UInt32.max - UInt32($0)) }
  return keys.filter { $0 >> 32 > 0 }.sorted(by: >).prefix(k).map { Int(UInt32.max - UInt32(truncatingIfNeeded: $0)) }.sorted()
}

/// A codec whose codes are as long as they may be, and nothing that it would write.
struct Damaged: Codec {
  let base: any Codec
  var name: String { base.name }
  var specification: String { base.specification }
  var grouping: Grouping { base.grouping }
  var isIdentity: Bool { base.isIdentity }
  var hasVaryingLength: Bool { base.hasVaryingLength }

  func codeByteCount(of count: Int) -> Int { base.codeByteCount(of: count) }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    let byteCount = codeByteCount(of: count)
    code.initializeMemory(as: UInt8.self, repeating: 0xFF, count: byteCount)
    return byteCount
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { base.decode(code, byteCount: byteCount, count: count, setting: values, streaming: streaming) }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    base.decode(code, byteCount: byteCount, count: count, addingTo: values)
  }
}
