internal import Buffers
internal import Transport

extension PairGraph {
  /// What a rank sends and receives in a step of as many minibatches as workers, in the mean over whom workers ask.
  ///
  /// - Parameters:
  ///   - workers: Those of the rank.
  ///   - insideHost: For each rank, whether it is on the host of this one.
  ///   - valueCount: The values of a model.
  func traffic(of workers: RankWorkers, insideHost: [Bool], valueCount: Int) -> Traffic {
    var tally = Tally(workers: workers, insideHost: insideHost, valueCount: valueCount)
    for worker in 0..<count {
      tally.addClaims(1, by: worker)
      guard isActive(worker) else { continue }
      let others = graph.neighbours[worker]
      for other in others { tally.addAverages(1 / Double(others.count), of: worker, with: other) }
    }
    return tally.traffic
  }

  /// What a rank sends and receives between two meetings at which workers did these steps, by worker, and claimed as many minibatches.
  func traffic(
    of workers: RankWorkers, insideHost: [Bool], valueCount: Int, steps: [[PairStep]], claimCounts: [Int], seed: UInt64
  ) -> Traffic {
    var tally = Tally(workers: workers, insideHost: insideHost, valueCount: valueCount)
    for worker in 0..<count {
      tally.addClaims(claimCounts[worker], by: worker)
      guard isActive(worker) else { continue }
      for case .update(let minibatch) in steps[worker] {
        if let other = partner(of: worker, minibatch: minibatch, seed: seed) { tally.addAverages(1, of: worker, with: other) }
      }
      for other in Set(graph.neighbours[worker].map(workers.rank(of:))) { tally.addEnd(of: worker, to: other) }
    }
    return tally.traffic
  }

  /// The bytes and messages of a rank, by the format.
  private struct Tally {
    let workers: RankWorkers
    let insideHost: [Bool]
    let valueCount: Int
    /// By other rank.
    private var sent: [Double]
    private var received: [Double]
    private var messages = 0.0

    init(workers: RankWorkers, insideHost: [Bool], valueCount: Int) {
      (self.workers, self.insideHost, self.valueCount) = (workers, insideHost, valueCount)
      sent = Array(repeating: 0, count: insideHost.count)
      received = sent
    }

    var traffic: Traffic {
      var traffic = Traffic()
      for isInside in [false, true] {
        func sum(_ bytes: [Double]) -> Int {
          Int(bytes.indices.reduce(0) { insideHost[$1] == isInside ? $0 + bytes[$1] : $0 }.rounded())
        }
        traffic.addSent(sum(sent), insideHost: isInside)
        traffic.addReceived(sum(received), insideHost: isInside)
      }
      traffic.messagesSent = Int(messages.rounded())
      return traffic
    }

    /// Adds `number` messages of a header, or not, and values, or none, from one rank to another.
    private mutating func add(_ number: Double, from: Int, to: Int, hasHeader: Bool, hasValues: Bool) {
      guard from != to else { return }
      let (header, values) = (hasHeader ? PairMessages.headerByteCount : 0, hasValues ? 4 * valueCount : 0)
      if from == workers.rank {
        sent[to] += number * Double(header + values)
        messages += number * Double((hasHeader ? 1 : 0) + Mailbox.pieceCount(of: values))
      }
      if to == workers.rank { received[from] += number * Double(header + values) }
    }

    /// Adds questions of a worker to another, and their answers.
    mutating func addAverages(_ number: Double, of worker: Int, with other: Int) {
      let (asking, asked) = (workers.rank(of: worker), workers.rank(of: other))
      add(number, from: asking, to: asked, hasHeader: true, hasValues: true)
      add(number, from: asked, to: asking, hasHeader: false, hasValues: true)
    }

    /// Adds claims of a worker, and what rank 0 grants.
    mutating func addClaims(_ number: Int, by worker: Int) {
      add(Double(number), from: workers.rank(of: worker), to: 0, hasHeader: true, hasValues: false)
      add(Double(number), from: 0, to: workers.rank(of: worker), hasHeader: true, hasValues: false)
    }

    /// Adds the news for a rank that a worker asks no more.
    mutating func addEnd(of worker: Int, to other: Int) {
      add(1, from: workers.rank(of: worker), to: other, hasHeader: true, hasValues: false)
    }
  }
}
