/// What a cell of a sketch's table is: `Float` is fast and is what is sent, `Double` keeps sums over many steps, `Int64` is exact.
///
/// Sums of integers do not depend on their order, so that integer tables of any number of ranks agree bit for bit.
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
