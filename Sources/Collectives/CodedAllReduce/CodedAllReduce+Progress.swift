internal import Transport

extension CodedAllReduce {
  /// How far an exchange is: counters only, so that the order of arrival never enters arithmetic.
  struct Progress {
    /// The step that it belongs to.
    let step: Int
    /// The gradient that it sums.
    let gradient: SharedGradient
    /// The values of the own gradient that are final, and those that are final on all ranks of the party.
    var readyCount = 0
    var partyReadyCount = 0
    /// The segments that this rank has encoded, in the order of encoding.
    var encodedCount = 0
    /// By rank, the segments of its contribution to the own shard that can be read.
    var availableContributions: [Int]
    /// The segments of the own shard that have been added.
    var summedCount = 0
    /// By owner, the segments of its sum that can be read, and those that have been decoded.
    var availableSums: [Int]
    var decodedSums: [Int]
    /// By owner, the segments that were decoded before the delivery.
    var aheadSums: [Int]
    /// The units of work done since MPI was last asked what has arrived; 1 if it is to be asked as soon as there is no work.
    var unpolledTurns = 1
    /// What becomes of the sums.
    var gate: Gate

    /// An exchange that begins.
    init(of gradient: SharedGradient, step: Int, rankCount: Int, gate: Gate) {
      (self.gradient, self.step) = (gradient, step)
      availableContributions = Array(repeating: 0, count: rankCount)
      (availableSums, decodedSums, aheadSums) = (availableContributions, availableContributions, availableContributions)
      self.gate = gate
    }

    /// Lets sums through; what was decoded before is delivered first.
    mutating func open(_ gate: Gate) {
      swap(&aheadSums, &decodedSums)
      self.gate = gate
    }
  }
}
