import Buffers
import Strategies
import Trainer

/// Descent in a few plain lines on all samples of each step: u ← ρu + g + λw, e ← e + ηu, and the k largest of e change the model.
enum PlainSparseDescent {
  static func train(_ options: TrainerOptions, k: Int, masks: Bool) throws -> PlainRun {
    let run = try PlainRun(options)
    let weights = run.weights
    var (u, e) = (Array(repeating: Float(0), count: weights.count), Array(repeating: Float(0), count: weights.count))
    for step in run.steps {
      let samples = run.samples(of: step)
      try run.computeGradient(of: samples, among: samples.count)
      let rate = run.rate(of: step)
      for i in 0..<weights.count {
        u[i] = Float(options.momentum) * u[i] + (run.gradient[i] + Float(options.weightDecay) * weights[i])
        e[i] += rate * u[i]
      }
      for i in (0..<weights.count).sorted(by: { abs(e[$0]) > abs(e[$1]) }).prefix(k) {
        weights[i] -= e[i]
        e[i] = 0
        if masks { u[i] = 0 }
      }
    }
    return run
  }
}
