internal import Kernels

/// The codec that changes nothing, `none`: a code is the floats of its group.
///
/// There is no residual; the pointer given to ``encode(gradient:residual:count:into:context:)`` is never read or written.
public struct Identity: Codec {
  /// Groups carry no statistics here; their length only sets the grain of the exchange.
  public let grouping = Grouping.elements(1024)
  public let name = "none"
  public let specification = "none"
  public let isIdentity = true

  /// The codec that changes nothing.
  public init() {}

  public func codeByteCount(of count: Int) -> Int { 4 * count }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard allFinite(gradient, count: count, limit: .greatestFiniteMagnitude) else { return nil }
    code.copyMemory(from: gradient, byteCount: 4 * count)
    return 4 * count
  }

  public func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    copy(code.assumingMemoryBound(to: Float.self), count: count, to: values, streaming: streaming)
  }

  public func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    add(code.assumingMemoryBound(to: Float.self), count: count, to: values)
  }

  public func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    codes.withMemoryRebound(to: UnsafePointer<Float>.self, capacity: codeCount) {
      orderedSum($0, termCount: codeCount, count: count, into: values)
    }
  }
}
