internal import Transport

extension CodedAllReduce {
  /// The progress of an exchange: counters only, so that the order of arrival never affects arithmetic.
  struct Progress {
    /// The training step it belongs to.
    let step: Int
    /// The gradient it sums.
    let gradient: SharedGradient
    /// The number of this rank's values that are final, and of those that are final on all ranks of the party.
    var readyCount = 0
    var partyReadyCount = 0
    /// The number of segments this rank has encoded, in the order of encoding.
    var encodedCount = 0
    /// By rank, the number of segments of its contribution to this rank's shard that can be read.
    var availableContributions: [Int]
    /// The number of segments of this rank's shard that have been added.
    var summedCount = 0
    /// By owner, the number of segments of its sum that can be read, and of those that have been decoded.
    var availableSums: [Int]
    var decodedSums: [Int]
    /// By owner, the number of segments decoded before the delivery.
    var aheadSums: [Int]
    /// The units of work done since the last poll of MPI; 1 to poll as soon as there is no work.
    var unpolledTurns = 1
    /// What happens to the sums.
    var gate: Gate

    /// Creates the state at the start of an exchange.
    init(of gradient: SharedGradient, step: Int, rankCount: Int, gate: Gate) {
      (self.gradient, self.step) = (gradient, step)
      availableContributions = Array(repeating: 0, count: rankCount)
      (availableSums, decodedSums, aheadSums) = (availableContributions, availableContributions, availableContributions)
      self.gate = gate
    }

    /// Lets sums through; those decoded ahead are delivered first.
    mutating func open(_ gate: Gate) {
      swap(&aheadSums, &decodedSums)
      self.gate = gate
    }
  }
}
