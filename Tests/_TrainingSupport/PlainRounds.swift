import Buffers
import Foundation
import Strategies
import Trainer

/// Local steps in a few plain lines of fp32, all ranks in one process: inner descent with momentum ρ, floats, an outer step.
struct PlainRounds {
  /// H, and α and μ of the outer step.
  var steps: Int
  var style: OuterRule.Style
  var rate: Float
  var momentum: Float
  /// The ranks of each round.
  var rankCount: (_ round: Int) -> Int
  /// Whether a rank contributes nothing to a round, because its gradient is not finite in the first step of it.
  var isLeftOut: (_ round: Int, _ rank: Int) -> Bool = { _, _ in false }
  /// The steps of a round that a rank takes at most.
  var mostSteps: (_ rank: Int) -> Int = { _ in .max }
  /// μ of FedProx, and the largest norm of a gradient.
  var proximal: Float = 0
  var clip: Double?

  /// The model in the end: that at which rounds begin, and for block momentum the one before the look-ahead.
  func train(_ options: TrainerOptions) throws -> (start: [Float], model: [Float]) {
    let run = try PlainRun(options)
    let (rho, eta) = (Float(options.momentum), Float(options.learningRate))
    var theta = Array(run.weights.values)
    let count = theta.count
    var v = [Float](repeating: 0, count: count)
    var velocities: [[Float]] = []
    var step = 0
    while step < options.steps! {
      let (number, end) = (step / steps, min(options.steps!, step + steps))
      let ranks = rankCount(number)
      while velocities.count < ranks { velocities.append(velocities.first ?? [Float](repeating: 0, count: count)) }
      var changes: [(psi: [Float], samples: Int)] = []
      for rank in 0..<ranks {
        var (x, samples) = (theta, 0)
        for inner in (step..<end).prefix(mostSteps(rank)) where !isLeftOut(number, rank) {
          let all = run.samples(of: inner)
          let own = all[Partition(count: all.count, into: ranks)[rank]]
          for i in 0..<count { run.weights[i] = x[i] }
          try run.computeGradient(of: own, among: own.count)
          if proximal > 0 { for i in 0..<count { run.gradient[i] += proximal * (x[i] - theta[i]) } }
          if let clip { PlainRun.clip(run.gradient, to: clip) }
          for i in 0..<count {
            velocities[rank][i] = rho * velocities[rank][i] + run.gradient[i]
            x[i] -= eta * (rho > 0 ? velocities[rank][i] : run.gradient[i])
          }
          samples += own.count
        }
        changes.append(((0..<count).map { theta[$0] - x[$0] }, samples))
      }
      let total = changes.reduce(0) { $0 + $1.samples }
      for i in 0..<count where total > 0 {
        // In rank order; a weight of one changes nothing.
        let terms = changes.map { $0.samples == 0 ? 0 : $0.psi[i] * Float(Double($0.samples) / Double(total)) }
        let mean = terms.dropFirst().reduce(terms[0]) { $0 + $1 }
        switch style {
        case .none: theta[i] -= rate * mean
        case .heavyBall:
          v[i] = momentum * v[i] + mean
          theta[i] -= rate * v[i]
        case .nesterov:
          v[i] = momentum * v[i] + mean
          theta[i] -= rate * (mean + momentum * v[i])
        case .lion:
          let direction = momentum * v[i] + (1 - momentum) * mean
          theta[i] -= direction > 0 ? rate : direction < 0 ? -rate : 0
          v[i] = 0.99 * v[i] + (1 - 0.99) * mean
        }
      }
      step = end
    }
    return (theta, (0..<count).map { theta[$0] + momentum * rate * v[$0] })
  }
}
