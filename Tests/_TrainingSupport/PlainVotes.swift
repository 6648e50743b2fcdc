import Buffers
import Networks
import Strategies
import Trainer
import _TestSupport

/// SIGNUM and Distributed Lion in a few plain lines: every rank votes with the signs of its momentum and gradient, and the model moves by
/// the vote (algorithms §3.3, frontier F2.2).
enum PlainVotes {
  static func train(_ options: TrainerOptions, optimizer: String, codec: String) throws -> PlainRun {
    let keys = try Specification(optimizer).options
    let (abstains, isMean, breaksTies) = (codec.contains("abstain=true"), codec.contains("mean"), !codec.contains("zero"))
    let isSignum = optimizer.hasPrefix("signum")
    let beta1 = Double(keys[isSignum ? "beta" : "beta1"] ?? "0.9")!
    let beta2 = isSignum ? beta1 : Double(keys["beta2"] ?? "0.99")!
    let run = try PlainRun(options)
    let (count, ranks) = (run.weights.count, World.count)
    var momenta = Array(repeating: [Float](repeating: 0, count: count), count: ranks)
    let decays = run.network.layout.tensors.flatMap { tensor in
      [Bool](repeating: tensor.shape.count > 1 || optimizer.contains("decay=all"), count: tensor.count)
    }
    for step in run.steps {
      let (samples, rate) = (run.samples(of: step), run.rate(of: step))
      let random = Philox(seed: options.seed, purpose: .voteTies, step: step)
      var votes = Array(repeating: [Float](repeating: 0, count: count), count: ranks)
      for (rank, range) in Partition(count: samples.count, into: ranks).ranges.enumerated() {
        try run.computeGradient(of: samples[range], among: samples.count)
        for i in 0..<count {
          let (m, g) = (momenta[rank][i], run.gradient[i])
          votes[rank][i] = Float(beta1) * m + Float(1 - beta1) * g
          momenta[rank][i] = Float(beta2) * m + Float(1 - beta2) * g
        }
      }
      for i in 0..<count {
        let signs = votes.map { $0[i] > 0 || (!abstains && $0[i] == 0) ? 1 : $0[i] == 0 ? 0 : -1 }
        let sum = signs.reduce(0, +)
        var move: Float = sum > 0 ? 1 : sum < 0 ? -1 : 0
        if isMean {
          move = Float(sum) / Float(ranks)
        } else if sum == 0, breaksTies, signs.contains(where: { $0 != 0 }) {
          move = random.word(i / 32) >> UInt32(i % 32) & 1 == 1 ? 1 : -1
        }
        let shrinkage = decays[i] ? Float(Double(rate) * options.weightDecay) : 0
        run.weights[i] = run.weights[i] - (rate * move + shrinkage * run.weights[i])
      }
    }
    return run
  }
}
