internal import Buffers

/// Seconds as a function of an amount (samples, bytes), through measured points.
///
/// It is linear between points; beyond them it continues with the slope of the line that fits all points best, so that one
/// disturbed measurement does not decide values far away.
public struct CostCurve: Hashable, Sendable {
  /// A measurement.
  public struct Point: Hashable, Sendable {
    /// The amount of work.
    public var amount: Double
    /// The seconds it took.
    public var seconds: Double

    /// A measurement of `seconds` for `amount`.
    public init(_ amount: Double, _ seconds: Double) {
      self.amount = amount
      self.seconds = seconds
    }
  }

  /// In ascending order of amounts; seconds never decrease.
  public let points: [Point]
  /// The seconds for no work, a, of the line a + b · amount that fits best; not below 0.
  public let fixedSeconds: Double
  /// The slope b of that line, in seconds per unit; not below 0.
  public let secondsPerUnit: Double

  /// A curve through `points`, at least one, with different amounts.
  ///
  /// More work never takes less time: a point below an earlier one was disturbed less, and both get their mean.
  public init(_ points: [Point]) {
    require(!points.isEmpty, "a curve needs a point")
    // Pool adjacent violators: each block has the mean of the seconds in it.
    var blocks: [(points: [Point], mean: Double)] = []
    for point in points.sorted(by: { $0.amount < $1.amount }) {
      var block = (points: [point], mean: point.seconds)
      while let last = blocks.last, last.mean > block.mean {
        blocks.removeLast()
        let all = last.points + block.points
        block = (all, all.reduce(0) { $0 + $1.seconds } / Double(all.count))
      }
      blocks.append(block)
    }
    self.points = blocks.flatMap { block in block.points.map { Point($0.amount, block.mean) } }
    (fixedSeconds, secondsPerUnit) = CostCurve.line(through: self.points)
  }

  /// A straight line: `fixed` for no work, plus `perUnit` for each unit.
  public init(fixed: Double = 0, perUnit: Double) {
    points = [Point(0, fixed), Point(1, fixed + perUnit)]
    fixedSeconds = fixed
    secondsPerUnit = perUnit
  }

  /// The seconds that `amount` takes.
  public func seconds(for amount: Double) -> Double {
    let (first, last) = (points[0], points[points.count - 1])
    if amount >= last.amount { return last.seconds + (amount - last.amount) * secondsPerUnit }
    if amount <= first.amount { return max(0, first.seconds - (first.amount - amount) * secondsPerUnit) }
    let next = points.firstIndex { $0.amount > amount } ?? points.count - 1
    let (a, b) = (points[next - 1], points[next])
    return a.seconds + (b.seconds - a.seconds) * (amount - a.amount) / (b.amount - a.amount)
  }

  /// The line with the least sum of squared errors and non-negative coefficients.
  ///
  /// Errors are relative to the seconds, but to no less than a tenth of the maximum: what hardly takes time is mostly noise.
  private static func line(through points: [Point]) -> (fixed: Double, perUnit: Double) {
    var (w, wx, wxx, ws, wxs) = (0.0, 0.0, 0.0, 0.0, 0.0)
    let scale = 0.1 * (points.map(\.seconds).max() ?? 0)
    for point in points where point.seconds > 0 {
      let weight = 1 / (point.seconds * point.seconds + scale * scale)
      w += weight
      wx += weight * point.amount
      wxx += weight * point.amount * point.amount
      ws += weight * point.seconds
      wxs += weight * point.amount * point.seconds
    }
    guard w > 0 else { return (0, 0) }
    let determinant = w * wxx - wx * wx
    let through0 = wxx > 0 ? wxs / wxx : 0
    // A single amount, up to rounding, does not determine the fixed part.
    guard determinant > 1e-12 * w * wxx else { return wxx > 0 ? (0, through0) : (ws / w, 0) }
    let perUnit = (w * wxs - wx * ws) / determinant
    let fixed = (ws - perUnit * wx) / w
    if perUnit < 0 { return (ws / w, 0) }
    return fixed < 0 ? (0, through0) : (fixed, perUnit)
  }
}
