/// `base` to the power `exponent`, bitwise identical on every machine.
///
/// Uses only products and square roots, which IEEE 754 rounds identically everywhere; the power of a C library may differ in
/// the last place. The exponent is truncated after 52 binary places; an exponent of 1 gives `base` itself.
///
/// - Parameters:
///   - base: At least 0.
///   - exponent: At least 0, below 2⁵².
package func power(_ base: Double, _ exponent: Double) -> Double {
  require(base >= 0 && exponent >= 0 && exponent < 0x1p52, "\(base) to the power \(exponent) is not computed here")
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
