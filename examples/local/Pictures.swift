import Files
import Laboratory
import Reporting

/// Writes a plot, if a file is named; throws one sentence on failure.
func write(_ plot: SVGPlot, to file: String?) throws {
  guard let file else { return }
  do { try plot.write(to: FileDestination(file)) } catch { throw Failure("\(error)") }
}

extension Report {
  /// The bytes that the busiest rank sent in the run.
  func bytesOfBusiestRank() throws -> Int {
    guard let wire = end?["wire"] as? [String: Any], let sent = (wire["bytesSent"] as? [Int])?.max() else {
      throw Failure("the run '\(job.name)' does not tell its bytes")
    }
    return sent
  }

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
