extension Portable {
  /// One step of Adam, as in ``adamUpdate(weights:gradient:means:squares:count:step:)``.
  static func adam(
    _ weights: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>, _ means: UnsafeMutablePointer<Float>,
    _ squares: UnsafeMutablePointer<Float>, _ count: Int, _ step: AdamStep
  ) {
    let whole = count / 16 * 16
    for i in stride(from: 0, to: whole, by: 16) {
      var w = UnsafeRawPointer(weights + i).loadUnaligned(as: Half.self)
      var m = UnsafeRawPointer(means + i).loadUnaligned(as: Half.self)
      var v = UnsafeRawPointer(squares + i).loadUnaligned(as: Half.self)
      adam(&w, UnsafeRawPointer(gradient + i).loadUnaligned(as: Half.self), &m, &v, step)
      UnsafeMutableRawPointer(weights + i).storeBytes(of: w, as: Half.self)
      UnsafeMutableRawPointer(means + i).storeBytes(of: m, as: Half.self)
      UnsafeMutableRawPointer(squares + i).storeBytes(of: v, as: Half.self)
    }
    let rest = count - whole
    guard rest > 0 else { return }
    var (w, g, m, v) = (Half.zero, Half.zero, Half.zero, Half.zero)
    for lane in 0..<rest {
      (w[lane], g[lane]) = (weights[whole + lane], gradient[whole + lane])
      (m[lane], v[lane]) = (means[whole + lane], squares[whole + lane])
    }
    adam(&w, g, &m, &v, step)
    for lane in 0..<rest { (weights[whole + lane], means[whole + lane], squares[whole + lane]) = (w[lane], m[lane], v[lane]) }
  }

  /// Sixteen values.
  @inline(__always)
  private static func adam(_ w: inout Half, _ gradient: Half, _ m: inout Half, _ v: inout Half, _ step: AdamStep) {
    let largest = Half(repeating: AdamStep.largestGradient)
    var x = step.gradientScale * gradient + step.gradientDecay * w
    x.replace(with: largest, where: x .> largest)
    x.replace(with: -largest, where: x .< -largest)
    m = step.meanKept * m + step.meanGain * x
    v = step.squareKept * v + step.squareGain * (x * x)
    let root = step.rootScale * v.squareRoot() + Half(repeating: step.epsilon)
    w = w - (step.rate * (m / root) + step.shrinkage * w)
  }
}
