import Files
import Laboratory
import Reporting

/// Writes a plot, if a file is named; throws one sentence on failure.
func write(_ plot: SVGPlot, to file: String?) throws {
  guard let file else { return }
  do { try plot.write(to: FileDestination(file)) } catch { throw Failure("\(error)") }
}

extension Report {
  /// The test accuracy in percent after so many seconds of training, evaluation by evaluation; evaluations themselves are left
  /// out.
  var accuracies: [(x: Double, y: Double)] {
    var (seconds, resumed) = (0.0, 0.0)
    var points: [(x: Double, y: Double)] = []
    for line in lines {
      guard let time = line["seconds"] as? Double else { continue }
      if line["event"] as? String == "step" {
        seconds += time - resumed
        resumed = time
      } else if line["event"] as? String == "epoch" {
        resumed = time
        if let accuracy = line["testAccuracy"] as? Double { points.append((seconds, 100 * accuracy)) }
      }
    }
    return points
  }
}
