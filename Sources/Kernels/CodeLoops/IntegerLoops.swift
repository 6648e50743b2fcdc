/// The loops whose codes are integers times one scale, which stands apart from them: those of many groups can be added before they are
/// decoded if these have one scale.
///
/// Integers q of ±`levels` stand for (q · 1/`levels`) · s. They are laid out as the codes of values are (``CodeLoops``), without a
/// header.
package protocol IntegerLoops: CodeLoops {
  /// The largest integer.
  var levels: Int { get }
  /// s.
  var scale: Float { get set }

  /// The same with a scale and random numbers.
  func scaled(to scale: Float, _ random: RandomStart) -> Self

  /// Writes the integers of gradient + residual, and leaves the remainder as the new residual, or zeros if it does not keep it.
  func encodeIntegers(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int,
    into integers: UnsafeMutableRawPointer)

  /// Adds integers to `sums`, which stay exact below 2²⁴.
  func addIntegers(_ integers: UnsafeRawPointer, count: Int, to sums: UnsafeMutablePointer<Float>)
}
