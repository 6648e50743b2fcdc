internal import Kernels

/// The codec that changes nothing: a code is the floats of its group.
///
/// There is no residual; the pointer given to ``encode(gradient:residual:count:into:)`` is never read or written.
public struct None: Codec {
  /// Groups carry no statistics here; their length only sets the grain of the exchange.
  public let grouping = Grouping.elements(1024)
  public let name = "none"
  public let specification = "none"
  public let isIdentity = true

  /// The codec that changes nothing.
  public init() {}

  public func encodedByteCount(of count: Int) -> Int { 4 * count }
  public func isPlain(count: Int) -> Bool { false }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) -> Bool {
    guard allFinite(gradient, count: count, limit: .greatestFiniteMagnitude) else {
      code.initializeMemory(as: UInt8.self, repeating: 0, count: 4 * count)
      return false
    }
    code.copyMemory(from: gradient, byteCount: 4 * count)
    return true
  }

  public func decode(
    _ code: UnsafeRawPointer, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    copy(code.assumingMemoryBound(to: Float.self), count: count, to: values, streaming: streaming)
  }

  public func decode(_ code: UnsafeRawPointer, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    add(code.assumingMemoryBound(to: Float.self), count: count, to: values)
  }

  public func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    codes.withMemoryRebound(to: UnsafePointer<Float>.self, capacity: codeCount) {
      orderedSum($0, termCount: codeCount, count: count, into: values, streaming: false)
    }
  }
}
