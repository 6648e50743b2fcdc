import Buffers
import Datasets
import Foundation
import Networks
import Strategies
import Trainer

/// Descent with AdaGrad in a few plain lines.
enum PlainAdaGrad {
  /// The scaling of one vector that is cut into tensors.
  private struct Scaling {
    var squares: [Double]
    let epsilon: Double
    let countsAll: Bool

    mutating func scale(_ x: [Double], _ layout: TensorLayout) -> [Double] {
      var result = x
      for tensor in layout.tensors {
        var (sum, count) = (0.0, 0.0)
        for i in tensor.range {
          squares[i] += x[i] * x[i]
          let multiplier = 1 / (squares[i] + epsilon).squareRoot()
          result[i] *= multiplier
          if countsAll || squares[i] > 0 { (sum, count) = (sum + multiplier, count + 1) }
        }
        let mean = count == 0 ? 1 : sum / count
        for i in tensor.range { result[i] /= mean }
      }
      return result
    }
  }

  /// The model after the steps of `ranks` ranks, in fp64 but for the gradients of the ranks.
  static func train(
    _ options: TrainerOptions, place: String, epsilon: Double, countsAll: Bool, ranks: Int
  ) throws -> [Double] {
    let run = try PlainRun(options)
    let (data, network, weights, gradient) = (run.data, run.network, run.weights, run.gradient)
    var w = weights.values.map(Double.init)
    var u = [Double](repeating: 0, count: w.count)
    let fresh = Scaling(squares: u, epsilon: epsilon, countsAll: countsAll)
    var (own, whole) = (Array(repeating: fresh, count: ranks), fresh)
    let (order, plan) = (
      SampleOrder(count: data.count(.train), seed: options.seed), RunPlan(options, sampleCount: data.count(.train))
    )
    for step in 0..<options.steps! {
      let epoch = order.epoch(plan.epoch(of: step))
      var (total, sum) = ([Double](repeating: 0, count: w.count), [Float](repeating: 0, count: w.count))
      for rank in 0..<ranks {
        let samples = epoch[plan.places(of: step, rank: rank, ranks: ranks)]
        let batch = Minibatch(capacity: samples.count, featureCount: data.featureCount)
        data.load(samples, of: .train, into: batch)
        _ = try network.gradient(
          of: batch, parameters: weights, scale: 1 / Float(plan.places(of: step).count), into: gradient
        ) { _ in }
        for i in 0..<w.count { sum[i] = rank == 0 ? gradient[i] : sum[i] + gradient[i] }
        guard place == "partial" else { continue }
        let part = own[rank].scale(gradient.values.map(Double.init), network.layout)
        for i in 0..<w.count { total[i] += part[i] }
      }
      if place != "partial" { total = sum.map(Double.init) }
      if place == "aggregate" { total = whole.scale(total, network.layout) }
      let (rho, rate) = (
        options.momentum, options.learningRate * (1 + cos(Double.pi * Double(step) / Double(options.steps!))) / 2
      )
      for i in 0..<w.count { u[i] = rho * u[i] + (place == "momentum" ? 1 - rho : 1) * total[i] }
      let move = place == "momentum" ? whole.scale(u, network.layout) : u
      for i in 0..<w.count {
        w[i] -= rate * (move[i] + (place == "momentum" ? options.weightDecay * w[i] : 0))
        weights[i] = Float(w[i])
      }
    }
    return w
  }
}
