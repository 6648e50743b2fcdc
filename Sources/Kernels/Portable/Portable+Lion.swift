extension Portable {
  /// One step of Lion, as in ``lionUpdate(weights:gradient:means:count:step:)``.
  static func lion(
    _ weights: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>, _ means: UnsafeMutablePointer<Float>,
    _ count: Int,
    _ step: LionStep
  ) {
    for i in 0..<count {
      let (w, m, x) = (weights[i], means[i], step.gradientScale * gradient[i])
      let c = step.signKept * m + step.signGain * x
      let move = c > 0 ? step.rate : c < 0 ? 0 - step.rate : 0
      means[i] = step.meanKept * m + step.meanGain * x
      weights[i] = w - (move + step.shrinkage * w)
    }
  }
}
