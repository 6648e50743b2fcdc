/// The loss over some steps, over all ranks.
package struct LossTally {
  package private(set) var lossSum = 0.0
  package private(set) var sampleCount = 0

  package init(lossSum: Double = 0, sampleCount: Int = 0) {
    self.lossSum = lossSum
    self.sampleCount = sampleCount
  }

  /// Adds a step; skipped parts of it do not count.
  package mutating func add(_ outcome: StepOutcome) {
    add(lossSum: outcome.learnt.lossSum, sampleCount: outcome.learnt.sampleCount)
  }

  /// Adds the losses of some samples.
  package mutating func add(lossSum: Double, sampleCount: Int) {
    self.lossSum += lossSum
    self.sampleCount += sampleCount
  }

  /// The mean loss per sample; NaN if there are none.
  package var mean: Double { lossSum / Double(sampleCount) }
}
