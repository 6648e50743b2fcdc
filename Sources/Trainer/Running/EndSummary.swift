internal import Checkpoints
internal import Collectives
internal import Files
internal import Reporting
internal import Strategies
internal import Transport

/// The summary at the end of a run: the result, the traffic between ranks, and one sentence on whether compression paid off.
struct EndSummary {
  private let outcome: TrainingOutcome
  /// The number of steps of this job, which may have resumed another.
  private let stepCount: Int
  private var report: ExchangeReport
  private let conclusion: StrategyConclusion
  private let seconds: Double
  private let times: PhaseTimes
  /// K models of P slices each.
  private let shareCount: Int
  private let sliceCount: Int
  private let parameterCount: Int
  /// Seconds spent on trials of minibatches and rates, on the slowest rank; nil if nothing was tuned.
  private let trialSeconds: Double?
  /// By rank: sent, received, messages, predicted, inside the host, fallbacks, warm start, agreement, floats
  /// instead of codes, activations, predicted activations, trials of minibatches and rates, sent back by owners.
  private let traffic: [[Int]]

  /// Gathers the counts of all ranks.
  ///
  /// Collective.
  ///
  /// `activations` are the bytes that this rank sent to the other slices of its model, and the number predicted.
  init(
    _ outcome: TrainingOutcome, since firstStep: Int, _ report: ExchangeReport, _ conclusion: StrategyConclusion,
    times: PhaseTimes,
    seconds: Double,
    on grid: RankGrid,
    parameterCount: Int, activations: (sent: Int, predicted: Int)?, tuner: Tuner?, over agreement: Agreement
  ) throws {
    self.outcome = outcome
    (self.report, self.conclusion) = (report, conclusion)
    stepCount = outcome.steps - firstStep
    (shareCount, sliceCount, self.parameterCount) = (grid.shareCount, grid.sliceCount, parameterCount)
    let trials = tuner?.activations ?? (sent: 0, predicted: 0)
    let own = [
      report.traffic.bytesSent, report.traffic.bytesReceived, report.traffic.messagesSent,
      report.predictedInAll.bytesSent, report.traffic.hostBytesSent,
      report.isCompressed ? report.traffic.rawGroups + report.nonFiniteGroups : 0, report.warmStartTraffic.bytesSent,
      report.agreementTraffic.bytesSent, report.floatsInAll.bytesSent,
      (activations?.sent ?? 0) - trials.sent, (activations?.predicted ?? 0) - trials.predicted, tuner?.bytesSent ?? 0,
      report.traffic.returnedBytesSent,
    ]
    traffic = try agreement.gather(own.map(UInt64.init)).map { $0.map(Int.init) }
    // The slowest rank of each phase.
    let spent = [seconds] + times.seconds + [tuner?.seconds ?? 0]
    let all = try agreement.gather(spent.map(\.bitPattern))
    let slowest = spent.indices.map { phase in all.map { Double(bitPattern: $0[phase]) }.max() ?? 0 }
    self.seconds = slowest[0]
    var most = PhaseTimes()
    (most.compute, most.encode, most.decode) = (slowest[1], slowest[2], slowest[3])
    (most.wait, most.update, most.data) = (slowest[4], slowest[5], slowest[6])
    self.times = most
    trialSeconds = tuner?.searches == true ? slowest[7] : nil
  }

  /// Adds what was measured after everything was counted.
  mutating func note(comparison: ExchangeReport) {
    (report.floatSeconds, report.codedSeconds) = (comparison.floatSeconds, comparison.codedSeconds)
    report.comparisonObstacle = comparison.comparisonObstacle
  }

  private func byRank(_ column: Int) -> [Int] { traffic.map { $0[column] } }
  private func total(_ column: Int) -> Int { byRank(column).reduce(0, +) }
  private func most(_ column: Int) -> Int { byRank(column).max() ?? 0 }

  /// Bits per parameter and direction: each of K contributions is sent once, except its owner's, and the sum K − 1 times.
  private var bitsPerParameter: Double? {
    guard report.isCompressed, report.steps > 0 else { return nil }
    return Double(total(0)) * 8 / (2 * Double(shareCount - 1) * Double(parameterCount) * exchangesOfAll)
  }

  /// The exchanges of a whole model that those of fragments amount to.
  private var exchangesOfAll: Double { Double(report.steps) / Double(report.shape.fragments) }

  /// How many times more bytes floats would have taken on the same routes.
  private var compressionRatio: Double? {
    guard report.isCompressed, report.steps > 0, total(0) > 0 else { return nil }
    return Double(total(8)) / Double(total(0))
  }

  /// The last line of a metrics file.
  func event(epochs: Int) -> EndEvent {
    EndEvent(
      steps: outcome.steps, epochs: epochs, seconds: seconds,
      test: outcome.evaluation?.figures ?? TestResult(loss: .nan, accuracy: .nan),
      modelHash: outcome.modelHash,
      wire: EndEvent.Wire(
        bytesSent: byRank(0), bytesReceived: byRank(1), messages: byRank(2), predictedBytesSent: byRank(3),
        insideHost: byRank(4), bytesReturned: byRank(12), bitsPerParameter: bitsPerParameter,
        compressionRatio: compressionRatio, fallbacks: total(5),
        activations: sliceCount > 1 ? (byRank(9), byRank(10)) : nil),
      timing: times, trials: trialSeconds.map { EndEvent.Trials(seconds: $0, bytesSent: byRank(11)) },
      others: conclusion.members)
  }

  /// The text for users.
  var text: String {
    var lines: [String] = []
    let result = outcome.evaluation?.text
    let time = stepCount > 0 ? "in \(duration(seconds))" : "done before"
    lines.append(
      "\(counted(outcome.steps, "step")) \(time): \(result ?? "not evaluated"), model \(hexadecimal(outcome.modelHash))")
    // Steps of other jobs are unknown here.
    guard stepCount > 0 else { return lines[0] }
    if traffic.count > 1 {
      lines.append("bytes sent by the busiest rank:")
      let prediction = (report.predictsAtMost ? "at most " : "") + bytes(most(3))
      lines.append("  gradients after the warm start  \(bytes(most(0))), predicted \(prediction)")
      lines.append("  gradients in the warm start     \(bytes(most(6)))")
      if sliceCount > 1 {
        lines.append("  activations and their deltas    \(bytes(most(9))), predicted \(bytes(most(10)))")
      }
      lines.append("  agreement and hashes            \(bytes(most(7)))")
      if trialSeconds != nil { lines.append("  trials of sizes and rates       \(bytes(most(11)))") }
    }
    let phases = zip(PhaseTimes.names, times.seconds).map { "\($0) \(decimal($1, digits: 2))" }.joined(separator: ", ")
    let trials = trialSeconds.map { ", trials \(decimal($0, digits: 2))" } ?? ""
    lines.append("seconds on the slowest rank: \(phases)\(trials)")
    lines += conclusion.lines
    lines.append(verdict)
    return lines.joined(separator: "\n")
  }

  private func bytes(_ count: Int) -> String { withPrefix(Double(count)) + "B" }

  /// Whether compression was engaged, what it saved, and whether floats would have been faster here.
  private var verdict: String {
    guard shareCount > 1 else {
      return "Compression was not engaged: "
        + (sliceCount > 1 ? "one model exchanges no gradients." : "one rank exchanges nothing.")
    }
    guard report.isCompressed else { return "Compression was not engaged: the codec \(report.codec) sends floats." }
    guard report.steps > 0, let bitsPerParameter, let compressionRatio else {
      return "Compression was not engaged: the run ended within its warm start."
    }
    let engagedSteps = (report.steps + report.shape.exchangesInStep - 1) / report.shape.exchangesInStep
    let fallbacks = total(5) == 0 ? "no fallbacks" : counted(total(5), "fallback")
    let saved = "\(decimal(compressionRatio, digits: 1)) times fewer bytes than fp32"
    let extent =
      report.shape.stepsPerExchange == 1
      ? "\(engagedSteps) of \(stepCount) steps"
      : "\(report.steps) of \(report.steps + report.warmStartSteps) exchanges, "
        + (report.shape.fragments == 1
          ? "one in \(report.shape.stepsPerExchange) steps"
          : "one of each of \(report.shape.fragments) fragments in \(report.shape.stepsPerExchange) steps")
    let engaged =
      "Compression was engaged in \(extent): \(decimal(bitsPerParameter, digits: 2)) bits per "
      + "parameter and direction, \(saved), \(fallbacks); "
    guard let floats = report.floatSeconds, let codes = report.codedSeconds else {
      let reason = report.comparisonObstacle ?? "a warm start of floats measures it"
      return engaged + "whether floats would have been faster was not measured: \(reason)."
    }
    let measured =
      "\(report.areHidden ? "the part of an exchange that computing did not hide" : "an exchange") "
      + "with its update took \(decimal(codes * 1000, digits: 2)) ms, one of floats \(decimal(floats * 1000, digits: 2)) ms"
    return engaged + measured
      + (floats < 0.9 * codes
        ? ": plain fp32 would have been faster here."
        : floats <= 1.1 * codes
          ? ": plain fp32 would have been about as fast here." : ": plain fp32 would not have been faster here.")
  }
}
