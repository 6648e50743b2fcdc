import ArgumentParser
import Foundation
import Laboratory

/// The runs behind the tables of accuracy: a perceptron on spoken digits.
struct Speech: ParsableArguments {
  /// Steps of 256 frames in a pass over the training recordings.
  static let stepsInEpoch = 442

  @Option(
    help: ArgumentHelp("The data: the folder of the Free Spoken Digit Dataset that holds `recordings`.", valueName: "spec"))
  var data = "speech:../shared/data/free-spoken-digits"
  @Option(help: ArgumentHelp("The hidden layers, instead of the table's own.", valueName: "sizes")) var hidden: String?
  @Option(
    help: ArgumentHelp("The length of a run in steps of 256 frames; \(stepsInEpoch) are a pass over the data.", valueName: "n"))
  var steps = 4 * stepsInEpoch
  @Option(help: ArgumentHelp("The ranks of a run.", valueName: "n")) var ranks = 4
  @Option(help: ArgumentHelp("How many seeds a figure is the mean of, instead of the table's own.", valueName: "n"))
  var seeds: Int?

  func validate() throws {
    for (name, value) in [("steps", steps), ("ranks", ranks), ("seeds", seeds ?? 1)] where value < 1 {
      throw ValidationError("--\(name) is at least 1, not \(value)")
    }
  }

  /// The length of a run in steps of `minibatch` frames.
  func steps(of minibatch: Int) -> Int { steps * 256 / minibatch }

  /// The reports of each row's runs with `seeds`, in the order of the rows.
  func reports(of rows: [Row], seeds: ClosedRange<Int>, from laboratory: Laboratory) throws -> [[Report]] {
    let jobs = rows.flatMap { row in seeds.map { job(row, seed: $0) } }
    let reports = try laboratory.run(jobs)
    return rows.indices.map { Array(reports[$0 * seeds.count..<($0 + 1) * seeds.count]) }
  }

  private func job(_ row: Row, seed: Int) -> Job {
    Job(
      name: "\(row.name), seed \(seed)", program: "train", ranks: row.ranks,
      arguments: ["--data", data, "--steps", String(steps(of: row.minibatch) + row.extraSteps), "--seed", String(seed)]
        + row.options + (row.minibatch == 256 ? [] : ["--minibatch", String(row.minibatch)]))
  }

  /// Throws if the data are missing.
  func checkData() throws {
    guard data.hasPrefix("speech:") else { return }
    let folder = String(data.dropFirst("speech:".count).prefix { $0 != "," })
    guard FileManager.default.fileExists(atPath: "\(folder)/recordings") else {
      throw Failure(
        "there is no folder \(folder)/recordings; get the Free Spoken Digit Dataset "
          + "(https://github.com/Jakobovski/free-spoken-digit-dataset) and name it with --data speech:DIR")
    }
  }

  /// The differences from the paper in every table of accuracy.
  func setting(hidden: String, minibatch: Int = 256, seeds: ClosedRange<Int>) -> String {
    "The paper: 309 hours of Switchboard, 7 hidden layers of 2048 units, 9304 classes, 46 million parameters, GPUs on "
      + "InfiniBand; word errors on Hub5'00, and in parentheses right frames of the training data. Here: 19 minutes of spoken "
      + "digits by six speakers, hidden layers \(hidden), 60 classes (six states of a digit), \(ranks) ranks on one machine, "
      + "\(steps(of: minibatch)) steps of \(minibatch) frames, \(seeds.count == 1 ? "seed" : "mean (and range) of seeds") "
      + "\(seeds.map(String.init).joined(separator: ", ")); digits and frames of recordings that training did not see. Digits are far easier than "
      + "conversations, so that only differences between rows compare."
  }
}

/// The settings that the runs of one row share.
struct Row {
  let name: String
  let ranks: Int
  let options: [String]
  /// Frames per step.
  let minibatch: Int
  /// Steps in addition to those of all runs.
  let extraSteps: Int

  init(_ name: String, ranks: Int, _ options: [String], minibatch: Int = 256, extraSteps: Int = 0) {
    self.name = name
    self.ranks = ranks
    self.options = options
    self.minibatch = minibatch
    self.extraSteps = extraSteps
  }
}

/// The results of the runs of one row, in percent.
struct Accuracy {
  /// Frames classified correctly.
  let frames: Sample
  /// Recordings whose digit was misclassified; nil for data without digits.
  let digitErrors: Sample?
  /// Frames classified as their realigned labels; nil without realignment.
  let alignedFrames: Sample?

  init(_ reports: [Report]) throws {
    frames = Sample(values: try reports.map { try 100 * $0.number("testAccuracy") })
    let digits = reports.compactMap { try? 100 - 100 * $0.number("testDigitAccuracy") }
    digitErrors = digits.isEmpty ? nil : Sample(values: digits)
    let aligned = reports.compactMap { try? 100 * $0.number("testAlignedAccuracy") }
    alignedFrames = aligned.isEmpty ? nil : Sample(values: aligned)
  }
}
