internal import Buffers

/// Another codec with damped feedback: only a share β of the residual takes part in a code.
///
///     q = code of gradient + β · residual      residual ← residual + gradient − q
///
/// Nothing is lost, only later: Σ q = Σ gradients − residual, for every β. A code of few bits follows a large residual less closely,
/// which damps what swings between steps.
///
/// Source: Xie et al. 2024, "LoCo: low-bit communication adaptor"; Chen et al. 2020, "ScaleCom"; frontier F3.3.
/// - Cost: three more passes over a group in the cache, and room for a copy of it.
public struct Damped: Codec {
  private let codec: any Codec
  private let feedback: Float

  /// Creates the codec that feeds back the share `feedback` of residuals, 0 to 1.
  public init(_ codec: any Codec, feedback: Float) {
    require(feedback > 0 && feedback <= 1 && !codec.isIdentity, "a share of the residual is fed back, 0 to 1, not \(feedback)")
    (self.codec, self.feedback) = (codec, feedback)
  }

  public var specification: String { "\(codec.specification),feedback=\(feedback)" }
  public var name: String { codec.name }
  public var grouping: Grouping { codec.grouping }
  public var isIdentity: Bool { false }
  public var hasVaryingLength: Bool { codec.hasVaryingLength }
  public var isSparse: Bool { codec.isSparse }
  public var dividesBySenders: Bool { codec.dividesBySenders }
  public var addsBeforeDecoding: Bool { codec.addsBeforeDecoding }
  public var exchangesUntilSent: Double { codec.exchangesUntilSent / Double(feedback) }
  public var typicalContraction: Double? { codec.typicalContraction }

  public func codeByteCount(of count: Int) -> Int { codec.codeByteCount(of: count) }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: max(count, 1)) { room in
      guard let kept = room.baseAddress else { return nil }
      kept.initialize(to: 0)
      for i in 0..<count {
        kept[i] = residual[i]
        residual[i] = feedback * residual[i]
      }
      let written = codec.encode(gradient: gradient, residual: residual, count: count, into: code, context: context)
      for i in 0..<count { residual[i] = written == nil ? kept[i] : residual[i] + (kept[i] - feedback * kept[i]) }
      return written
    }
  }

  public func isCode(_ code: UnsafeRawPointer, byteCount: Int, count: Int) -> Bool {
    codec.isCode(code, byteCount: byteCount, count: count)
  }

  public func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { codec.decode(code, byteCount: byteCount, count: count, setting: values, streaming: streaming) }

  public func finishStreaming() { codec.finishStreaming() }

  public func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    codec.decode(code, byteCount: byteCount, count: count, addingTo: values)
  }

  public func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) { codec.decodeSum(codes, codeCount: codeCount, count: count, into: values) }
}

extension Registry.Entry where Product == any Codec {
  /// The same with the key `feedback`.
  var damped: Registry.Entry {
    let make = make
    let key = (name: "feedback", meaning: "the share of a residual that takes part in a code, above 0; the rest waits (1)")
    return Registry.Entry(name, summary, values: values, keys: keys + [key]) { specification in
      let codec = try make(specification)
      let feedback = Float(try specification.number("feedback", default: 1, in: 0.001...1))
      return feedback == 1 ? codec : Damped(codec, feedback: feedback)
    }
  }
}
