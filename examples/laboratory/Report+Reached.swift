extension Report {
  /// The seconds of training and the samples until the first evaluation that reaches `target` percent; nil if none does.
  ///
  /// Evaluations are left out, but for the model that ranks exchange at a meeting before one.
  package func reached(_ target: Double) -> (seconds: Double, samples: Int)? {
    var (seconds, resumed, samples) = (0.0, 0.0, 0)
    for line in lines {
      guard let time = line["seconds"] as? Double else { continue }
      if line["event"] as? String == "step", let count = line["samples"] as? Int {
        seconds += time - resumed
        (resumed, samples) = (time, count)
      } else if line["event"] as? String == "epoch" {
        resumed = time
        if let accuracy = line["testAccuracy"] as? Double, 100 * accuracy >= target { return (seconds, samples) }
      }
    }
    return nil
  }
}
