import Buffers
import Networks
import Strategies
import Trainer

/// Local steps in fragments, with a delay, in a few plain lines of fp32, all ranks in one process: inner descent with momentum ρ,
/// floats.
struct PlainStreams {
  /// H, P, D and λ.
  var steps: Int
  var fragments = 1
  var delay = 0
  var mix: Float = 1
  /// α and μ of Nesterov's outer step.
  var rate: Float = 0.7
  var momentum: Float = 0.5
  var ranks: Int
  /// A rank contributes nothing to the exchange after this step, the first of a part of a round, because its gradient is not
  /// finite.
  var leftOut: (step: Int, rank: Int)?

  /// The fragments, cut where a row ends that is nearest to a P-th of the values.
  static func ranges(of layout: TensorLayout, _ count: Int) -> [Range<Int>] {
    var ends = [0]
    for tensor in layout.tensors {
      let rows = tensor.shape.count > 1 ? tensor.shape[0] : 1
      for row in 1...rows { ends.append(tensor.range.lowerBound + tensor.count / rows * row) }
    }
    var cuts = [0]
    for part in 1...count {
      let ideal = Double(layout.count) * Double(part) / Double(count)
      cuts.append(part == count ? layout.count : ends.min { abs(Double($0) - ideal) < abs(Double($1) - ideal) }!)
    }
    return (0..<count).map { cuts[$0]..<cuts[$0 + 1] }
  }

  /// The model in the end.
  func train(_ options: TrainerOptions) throws -> [Float] {
    let run = try PlainRun(options)
    let (rho, eta) = (Float(options.momentum), Float(options.learningRate))
    let ranges = PlainStreams.ranges(of: run.network.layout, fragments)
    let count = run.weights.count
    var theta = Array(run.weights.values)
    var x = Array(repeating: theta, count: ranks)
    var velocities = Array(repeating: [Float](repeating: 0, count: count), count: ranks)
    var v = [Float](repeating: 0, count: count)
    var samples = Array(repeating: Array(repeating: 0, count: fragments), count: ranks)
    var flight: (range: Range<Int>, due: Int, step: [Float], sent: [[Float]])?

    /// The outer step of a fragment by what all ranks have changed; nil if none has.
    func exchange(_ q: Int, without missing: Int?) -> [Float]? {
      let total = (0..<ranks).reduce(0) { $0 + ($1 == missing ? 0 : samples[$1][q]) }
      defer { for rank in 0..<ranks { samples[rank][q] = 0 } }
      guard total > 0 else { return nil }
      return ranges[q].map { i in
        let terms = (0..<ranks).map { rank -> Float in
          let share = rank == missing ? 0 : Float(Double(samples[rank][q]) / Double(total))
          return rank == missing ? 0 : (theta[i] - x[rank][i]) * share
        }
        let mean = terms.dropFirst().reduce(terms[0]) { $0 + $1 }
        v[i] = momentum * v[i] + mean
        return rate * (mean + momentum * v[i])
      }
    }
    func land() {
      guard let (range, _, step, sent) = flight else { return }
      for i in range { theta[i] -= step[i - range.lowerBound] }
      for rank in 0..<ranks { for i in range { x[rank][i] += mix * (theta[i] - sent[rank][i]) } }
      flight = nil
    }

    // The steps of a round after which fragments are exchanged.
    let ends = (0..<fragments).map { part in steps / fragments * (part + 1) + min(part + 1, steps % fragments) }
    let last = options.steps!
    func endOfPart(with step: Int) -> Int { ends.map { step / steps * steps + $0 }.first { $0 > step }! }
    for step in 0..<last {
      if flight?.due == step { land() }
      let end = endOfPart(with: step)
      // It takes no further step before the exchange.
      let missing = leftOut.flatMap { $0.step <= step && endOfPart(with: $0.step) == end ? $0.rank : nil }
      for rank in 0..<ranks where rank != missing {
        let all = run.samples(of: step)
        let own = all[Partition(count: all.count, into: ranks)[rank]]
        for i in 0..<count { run.weights[i] = x[rank][i] }
        try run.computeGradient(of: own, among: own.count)
        for i in 0..<count {
          velocities[rank][i] = rho * velocities[rank][i] + run.gradient[i]
          x[rank][i] -= eta * (rho > 0 ? velocities[rank][i] : run.gradient[i])
        }
        for q in 0..<fragments { samples[rank][q] += own.count }
      }
      guard step + 1 == end || step + 1 == last else { continue }
      if flight != nil { land() }
      if let missing {
        x[missing] = theta
        for q in 0..<fragments { samples[missing][q] = 0 }
      }
      let due = ends.firstIndex { (step / steps * steps) + $0 == step + 1 }
      for q in step + 1 == last ? Array(0..<fragments) : [due!] {
        guard let outer = exchange(q, without: missing) else { continue }
        if delay > 0 && step + 1 < last {
          flight = (ranges[q], step + 1 + delay, outer, x)
        } else {
          for i in ranges[q] { theta[i] -= outer[i - ranges[q].lowerBound] }
          for rank in 0..<ranks {
            for i in ranges[q] { x[rank][i] = mix == 1 ? theta[i] : x[rank][i] + mix * (theta[i] - x[rank][i]) }
          }
        }
      }
    }
    return theta
  }
}
