/// The type of a sketch's cells: `Float` is fast and is what is sent, `Double` keeps sums over many steps, `Int64` is exact.
///
/// Integer sums do not depend on their order, so that integer tables agree bitwise for any number of ranks.
public protocol SketchCell: Comparable, SignedNumeric, Sendable {
  /// The nearest fp64 number.
  var asDouble: Double { get }
}

extension Float: SketchCell {
  public var asDouble: Double { Double(self) }
}

extension Double: SketchCell {
  public var asDouble: Double { self }
}

extension Int64: SketchCell {
  public var asDouble: Double { Double(self) }
}
