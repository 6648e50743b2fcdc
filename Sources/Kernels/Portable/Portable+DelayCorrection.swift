extension Portable {
  /// The correction of late gradients, as in ``correctDelay(_:now:before:squares:count:by:)``.
  static func correctDelay(
    _ gradient: UnsafeMutablePointer<Float>, _ now: UnsafePointer<Float>, _ before: UnsafePointer<Float>,
    _ squares: UnsafeMutablePointer<Float>?, _ count: Int, _ step: DelayCorrection
  ) {
    for i in 0..<count {
      let g = gradient[i]
      var lambda = step.lambda
      if let squares {
        squares[i] = step.kept * squares[i] + step.gain * (g * g)
        lambda /= (squares[i] + step.epsilon).squareRoot()
      }
      let x = lambda * (g * g) * (now[i] - before[i])
      let limit = step.clamp * abs(g)
      gradient[i] = g + (x > limit ? limit : x >= -limit ? x : x < -limit ? -limit : 0)
    }
  }
}
