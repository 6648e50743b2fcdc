import Buffers
import Foundation

/// Logistic regression whose samples are split over workers, with a ridge for each.
///
///     f = Σ_m f_m      f_m = Σ_n log(1 + exp(−y_n x_n·θ)) + ½λ‖θ‖²
///
/// The samples of a worker are scaled so that its loss is as smooth as it should be: ¼ of the largest eigenvalue of Σ x xᵀ, and λ.
/// Everything is computed in fp64.
struct LazyProblem {
  static let (sampleCount, dimension, ridge) = (50, 50, 0.1)

  /// Samples times labels, a row each, by worker.
  private let samples: [[[Double]]]
  /// L of the sum.
  let smoothness: Double

  /// The smoothness of the worker's loss: grows by 1.3² with the worker, or is 4.
  static func smoothness(of worker: Int, isEqual: Bool) -> Double { isEqual ? 4 : pow(pow(1.3, Double(worker)) + 1, 2) }

  init(workers: Int, isEqual: Bool, seed: Int) {
    let (count, width) = (Self.sampleCount, Self.dimension)
    samples = (0..<workers).map { worker in
      let random = Philox(seed: UInt64(seed), purpose: .drawing, stream: worker)
      /// Nearly normal.
      func draw(_ index: Int) -> Double { (0..<12).reduce(-6) { $0 + Double(random.uniform(index, tensor: $1)) } }
      let rows = (0..<count).map { n in
        let x = (0..<width).map { draw(n * width + $0) }
        // A boundary that all share, and noise.
        let side = x.enumerated().reduce(0) { $0 + $1.element * ($1.offset % 2 == 0 ? 1 : -0.5) } + 3 * draw(count * width + n)
        return side < 0 ? x.map { -$0 } : x
      }
      let scale = ((Self.smoothness(of: worker, isEqual: isEqual) - Self.ridge) / (largestEigenvalue(of: rows) / 4))
        .squareRoot()
      return rows.map { $0.map { $0 * scale } }
    }
    smoothness = largestEigenvalue(of: samples.flatMap { $0 }) / 4 + Double(workers) * Self.ridge
  }

  /// The least loss, by accelerated descent for far longer than needed.
  func leastLoss() -> Double {
    let width = Self.dimension
    var (model, ahead, momentum) = (Array(repeating: 0.0, count: width), Array(repeating: 0.0, count: width), 1.0)
    for _ in 0..<3000 {
      let sum = samples.indices.map { gradient(of: $0, at: ahead) }
      let next = (0..<width).map { j in ahead[j] - sum.reduce(0) { $0 + $1[j] } / smoothness }
      let grown = (1 + (1 + 4 * momentum * momentum).squareRoot()) / 2
      ahead = (0..<width).map { next[$0] + (momentum - 1) / grown * (next[$0] - model[$0]) }
      (model, momentum) = (next, grown)
    }
    return loss(at: model)
  }

  func loss(at model: [Double]) -> Double {
    samples.reduce(0) { sum, rows in
      rows.reduce(sum + Self.ridge / 2 * dot(model, model)) { $0 + log1p(exp(-dot($1, model))) }
    }
  }

  /// The gradient of a worker's loss; of some of its samples, in proportion, if they are listed.
  func gradient(of worker: Int, at model: [Double], samples chosen: [Int]? = nil) -> [Double] {
    var sum = model.map { Self.ridge * $0 }
    let share = Double(Self.sampleCount) / Double(chosen?.count ?? Self.sampleCount)
    for n in chosen ?? Array(0..<Self.sampleCount) {
      let x = samples[worker][n]
      let slope = -share / (1 + exp(dot(x, model)))
      for j in x.indices { sum[j] += slope * x[j] }
    }
    return sum
  }
}

private func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

/// Of Σ x xᵀ.
private func largestEigenvalue(of rows: [[Double]]) -> Double {
  var vector = (0..<(rows.first?.count ?? 0)).map { 1 + 0.01 * Double($0) }
  var value = 0.0
  for _ in 0..<500 {
    var product = Array(repeating: 0.0, count: vector.count)
    for row in rows {
      let projection = dot(row, vector)
      for j in row.indices { product[j] += projection * row[j] }
    }
    value = dot(product, product).squareRoot()
    vector = product.map { $0 / value }
  }
  return value
}
