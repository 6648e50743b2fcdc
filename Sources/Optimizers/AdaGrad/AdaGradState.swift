package import Buffers

/// AdaGrad's state for some coordinates, and its loop over them.
///
/// An update of the state can be undone: a step whose gradient turns out not to be finite leaves no trace. Sums of squares are
/// read from one buffer and written to another, and ``commit()`` makes the new ones current.
package final class AdaGradState {
  private typealias Block = MultiplierSum.Block

  /// a: the sums of squares of the committed steps.
  package private(set) var squares: FloatBuffer
  private var next: FloatBuffer
  private let rule: AdaGrad

  /// Creates an empty state of `count` coordinates.
  ///
  /// - Parameters:
  ///   - rule: The constants.
  ///   - count: The number of coordinates.
  ///   - isRestorable: Whether a step may end without ``commit()``, which costs a second buffer.
  package init(_ rule: AdaGrad, count: Int, isRestorable: Bool) {
    self.rule = rule
    squares = FloatBuffer(count: count)
    next = isRestorable ? FloatBuffer(count: count) : squares
  }

  /// Keeps what the last step added; it must have covered each coordinate once.
  package func commit() { swap(&squares, &next) }

  /// Divides `count` values by the root of their sums of squares, including this step's: x becomes x · (1/s).
  ///
  /// - Parameters:
  ///   - values: The values of the coordinates from `offset` on.
  ///   - offset: The index of the first in the state.
  ///   - count: The number of values.
  ///   - sum: Receives the multipliers over which the mean is taken.
  package func scale(_ values: UnsafeMutablePointer<Float>, at offset: Int, count: Int, addingTo sum: MultiplierSum) {
    let old = UnsafeRawPointer(squares.baseAddress + offset)
    let new = UnsafeMutableRawPointer(next.baseAddress + offset)
    let raw = UnsafeMutableRawPointer(values)
    let width = Block.scalarCount
    for i in stride(from: 0, to: count / width * width, by: width) {
      let x = raw.loadUnaligned(fromByteOffset: 4 * i, as: Block.self)
      let (scaled, a) = step(x, old.loadUnaligned(fromByteOffset: 4 * i, as: Block.self), sum)
      raw.storeBytes(of: scaled, toByteOffset: 4 * i, as: Block.self)
      new.storeBytes(of: a, toByteOffset: 4 * i, as: Block.self)
    }
    let (start, rest) = (count / width * width, count % width)
    guard rest > 0 else { return }
    var (x, a) = (Block.zero, Block.zero)
    for lane in 0..<rest { (x[lane], a[lane]) = (values[start + lane], squares[offset + start + lane]) }
    let (scaled, updated) = step(x, a, sum, count: rest)
    for lane in 0..<rest { (values[start + lane], next[offset + start + lane]) = (scaled[lane], updated[lane]) }
  }

  /// Sixteen coordinates, of which `count` are present.
  @inline(__always)
  private func step(_ x: Block, _ old: Block, _ sum: MultiplierSum, count: Int = Block.scalarCount) -> (x: Block, a: Block) {
    var a = old + x * x
    // Squares beyond the largest finite number count as that number; a sum that is not a number changes nothing.
    let largest = Block(repeating: .greatestFiniteMagnitude)
    a.replace(with: largest, where: a .> largest)
    a.replace(with: old, where: a .!= a)
    let multiplier = Block(repeating: 1) / (a + Block(repeating: rule.epsilon)).squareRoot()
    var counted = multiplier
    if rule.normalization == .positive { counted.replace(with: Block.zero, where: a .== Block.zero) }
    for lane in stride(from: count, to: Block.scalarCount, by: 1) { counted[lane] = 0 }
    sum.add(counted)
    return (x * multiplier, a)
  }
}
