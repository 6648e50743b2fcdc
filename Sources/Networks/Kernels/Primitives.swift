internal import CDNN

/// A piece of oneDNN's work, and the code that does it.
package struct Primitive: Hashable, Sendable {
  /// What it does: `convolution forward`, `convolution data` (to the gradient of the inputs), `convolution weights`, `reorder` (of
  /// weights, around a convolution), or `product`.
  package let kind: String
  /// The library's name of the code, for example `jit:avx512_core`; of a product, for which it has none, `jit` or `ref`.
  package let code: String

  /// Whether the code is a plain loop, which is up to a hundred times slower than what is generated for a processor.
  package var isReference: Bool { code.hasPrefix("ref") || code.contains(":ref") || code.hasPrefix("simple") }
}

/// The primitives of oneDNN that `body` makes in this thread, and the products that it computes, in order.
///
/// A convolution makes its primitives for each size of minibatches when it meets it first.
package func primitives(in body: () throws -> Void) rethrows -> [Primitive] {
  final class List { var primitives: [Primitive] = [] }
  let list = List()
  CDNN_observe(
    { kind, code, context in
      guard let context else { return }
      Unmanaged<List>.fromOpaque(context).takeUnretainedValue().primitives.append(
        Primitive(kind: String(cString: kind), code: String(cString: code)))
    }, Unmanaged.passUnretained(list).toOpaque())
  defer { CDNN_observe(nil, nil) }
  try withExtendedLifetime(list) { try body() }
  return list.primitives
}
