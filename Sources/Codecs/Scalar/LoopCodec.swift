internal import Buffers
internal import Kernels

/// A codec that is one scale for each group and a few bits for each value, by vector loops.
protocol LoopCodec: Codec {
  associatedtype Loops: CodeLoops
  /// The loops, before a scale is set.
  var loops: Loops { get }
  /// The loops with the scale and the random numbers of a group of at least one value; nil if fp32 has no scale for it.
  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> Loops?
}

extension LoopCodec {
  var isIdentity: Bool { false }

  func codeByteCount(of count: Int) -> Int { loops.byteCount(of: count) }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    let statistics = GroupStatistics(gradient, residual, count: count)
    guard let loops = loops(for: statistics, count: count, context: context) else { return nil }
    loops.encode(gradient, residual, count: count, into: code)
    return loops.byteCount(of: count)
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { loops.decode(code, count: count, into: values, streaming ? .stream : .set) }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    loops.decode(code, count: count, into: values, .add)
  }
}

extension PowerLoops {
  /// The loops with the least power of two that no magnitude of a group exceeds as the largest power; nil if a value is not finite.
  func scaled(to statistics: GroupStatistics, _ context: EncodingContext) -> PowerLoops? {
    let largest = statistics.largestMagnitude
    guard largest.isFinite else { return nil }
    var loops = self
    loops.scale = largest.powerAbove
    loops.random = context.random(.stochasticRounding).start
    return loops
  }
}

/// What a scale is made of.
enum Norm: String, CaseIterable {
  /// The root of the sum of squares.
  case l2
  /// The largest magnitude.
  case max

  /// The norm of a group, which is not finite if fp32 does not reach it.
  func callAsFunction(_ statistics: GroupStatistics) -> Float {
    switch self {
    case .l2: Float(statistics.squareSum.squareRoot())
    case .max: statistics.largestMagnitude
    }
  }
}

extension Float {
  /// The least power of two that is no smaller, at most 2¹²⁷; 0 for 0.
  var powerAbove: Float {
    guard self > 0 else { return 0 }
    return self == binade ? self : Swift.min(binade, 0x1p126) * 2
  }

  /// As it is written in a specification.
  package var asKey: String { self == rounded() && magnitude < 1e6 ? "\(Int(self))" : "\(self)" }
}
