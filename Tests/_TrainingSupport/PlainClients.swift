import Buffers
import Datasets
import Foundation
import Strategies
import Trainer

/// Federated averaging in a few plain lines: every client of a round begins at θ with momentum ρ, and counts by the samples that it
/// holds.
struct PlainClients {
  /// H, the clients of a round, and μ of FedProx.
  var steps: Int
  var sampled: Int
  var proximal: Float = 0
  /// Whether clients count by what they hold, and not alike.
  var isWeighted = true

  /// The model in the end.
  func train(_ options: TrainerOptions) throws -> [Float] {
    let run = try PlainRun(options)
    let (rho, eta) = (Float(options.momentum), Float(options.learningRate))
    let labels = (0..<run.data.count(.train)).map { Int32(run.data.label($0, of: .train)) }
    let held = try partitions.make(options.partition).samples(
      ofClients: options.clients!, labels: labels, classCount: run.data.classCount, seed: options.seed)
    let sizes = (0..<sampled).map { Partition(count: options.minibatch, into: sampled)[$0].count }
    var theta = Array(run.weights.values)
    var taken = Array(repeating: 0, count: held.count)
    for round in 0..<options.steps! / steps {
      let order = SampleOrder(count: held.count, seed: options.seed, purpose: .clientSampling).epoch(round)
      let clients = sampled < held.count ? order.prefix(sampled).map(Int.init) : Array(held.indices)
      var (sum, total) = (Array(repeating: 0.0, count: theta.count), 0.0)
      for (place, client) in clients.enumerated() {
        var (x, v) = (theta, Array(repeating: Float(0), count: theta.count))
        for _ in 0..<steps {
          let samples = (taken[client]..<taken[client] + sizes[place]).map { number -> Int32 in
            let (epoch, index) = number.quotientAndRemainder(dividingBy: held[client].count)
            let own = SampleOrder(count: held[client].count, seed: options.seed, stream: client + 1).epoch(epoch)
            return held[client][Int(own[index])]
          }
          taken[client] += samples.count
          for i in x.indices { run.weights[i] = x[i] }
          try run.computeGradient(of: samples, among: samples.count)
          for i in x.indices {
            v[i] = rho * v[i] + (run.gradient[i] + proximal * (x[i] - theta[i]))
            x[i] -= eta * v[i]
          }
        }
        let weight = isWeighted ? Double(held[client].count) : 1
        for i in x.indices { sum[i] += weight * Double(theta[i] - x[i]) }
        total += weight
      }
      for i in theta.indices { theta[i] -= Float(sum[i] / total) }
    }
    return theta
  }
}
