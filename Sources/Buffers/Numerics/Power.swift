/// `base` to the power `exponent`, the same bits on every machine: only products and square roots, which IEEE 754 rounds alike
/// everywhere, where the power of a C library may differ in the last place.
///
/// The exponent is cut after 52 binary places; a whole exponent of 1 gives `base` itself.
///
/// - Parameters:
///   - base: From 0.
///   - exponent: From 0, below 2⁵².
package func power(_ base: Double, _ exponent: Double) -> Double {
  precondition(base >= 0 && exponent >= 0 && exponent < 0x1p52, "\(base) to the power \(exponent) is not computed here")
  var result = 1.0
  var (square, whole) = (base, UInt64(exponent))
  while whole > 0 {
    if whole & 1 == 1 { result *= square }
    square *= square
    whole >>= 1
  }
  var (root, fraction) = (base, exponent - exponent.rounded(.down))
  while fraction > 0 {
    root = root.squareRoot()
    fraction *= 2
    if fraction >= 1 {
      result *= root
      fraction -= 1
    }
  }
  return result
}
