import Buffers
import Collectives
import MPI
import Testing
import Transport

/// Losses of as many workers, ½ Σ_j a_j (θ_j − c_j)² each: every rank can compute the gradients of all.
struct Quadratics {
  let curvatures: [[Float]]
  let centres: [[Float]]

  /// `workers` losses of `count` values, the largest curvature of worker m being about `smoothness[m]`, and the least 3 % of it.
  init(workers: Int, count: Int, smoothness: [Float], seed: Int = 5) {
    func draw(_ worker: Int, _ stream: Int) -> [Float] {
      var random = SplitMix(seed, worker, stream)
      return (0..<count).map { _ in Float(random.next() >> 40) * 0x1p-24 }
    }
    curvatures = (0..<workers).map { worker in
      var share: Float = 1
      return draw(worker, 0).map { noise in
        defer { share *= 1 - 3.5 / Float(max(count, 8)) }
        return smoothness[worker] * share * (0.8 + 0.2 * noise)
      }
    }
    centres = (0..<workers).map { draw($0, 1).map { 2 * $0 - 1 } }
  }

  var count: Int { centres[0].count }

  func gradient(of worker: Int, at model: [Float]) -> [Float] {
    model.indices.map { curvatures[worker][$0] * (model[$0] - centres[worker][$0]) }
  }

  /// Σ over the workers.
  func loss(at model: [Float]) -> Double {
    var sum = 0.0
    for (a, c) in zip(curvatures, centres) {
      for j in model.indices { sum += 0.5 * Double(a[j]) * Double(model[j] - c[j]) * Double(model[j] - c[j]) }
    }
    return sum
  }

  /// The least loss.
  var leastLoss: Double {
    loss(
      at: (0..<count).map { j in
        let (a, b) = curvatures.indices.reduce((0.0, 0.0)) {
          ($0.0 + Double(curvatures[$1][j]), $0.1 + Double(curvatures[$1][j]) * Double(centres[$1][j]))
        }
        return Float(b / a)
      })
  }
}

/// Lazily aggregated gradients in plain lines, all workers in one process (algorithms §10.8).
struct LazyReference {
  enum Rule {
    case worker
    case grid(bits: Int)
    /// The smoothness of each worker; nil if it is estimated.
    case server([Double]?)
  }

  let rule: Rule
  var depth = 10
  var weight = 0.1
  var start = 10
  var longestSilence = 100
  var model: [Float]
  private(set) var held: [[Float]]
  private(set) var uploads: [Int]
  private(set) var lastSum: [Float] = []
  private var old: [[Float]]
  private var estimates: [Double]
  private var errors: [Double]
  private var silence: [Int]
  private var changes: [Double] = []
  private var step = 0

  init(_ rule: Rule, workers: Int, model: [Float]) {
    (self.rule, self.model) = (rule, model)
    held = Array(repeating: Array(repeating: 0, count: model.count), count: workers)
    old = held
    (uploads, silence) = (Array(repeating: 0, count: workers), Array(repeating: 0, count: workers))
    (estimates, errors) = (Array(repeating: 0, count: workers), Array(repeating: 0, count: workers))
  }

  private func square(_ a: [Float], _ b: [Float]) -> Double {
    zip(a, b).reduce(0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
  }

  /// q′ of a gradient by a grid of 2^b points.
  private func points(_ g: [Float], _ q: [Float], bits: Int) -> [Float] {
    let r = Double(zip(g, q).map { Float(abs(Double($0) - Double($1))) }.max() ?? 0)
    guard r > 0 else { return q }
    let levels = Double(1 << bits - 1)
    return zip(g, q).map { g, q in
      let code = min(levels, max(0, ((Double(g) - Double(q) + r) * levels / (2 * r) + 0.5).rounded(.down)))
      return Float(Double(q) + (2 * r * code / levels - r))
    }
  }

  /// A step of all workers at the rate `rate`.
  mutating func run(rate: Float, _ gradient: (_ worker: Int, _ model: [Float]) -> [Float]) {
    let threshold = weight * changes.prefix(depth).reduce(0, +) / Double(held.count * held.count)
    for worker in held.indices {
      let g = gradient(worker, model)
      var (next, error) = (g, 0.0)
      let isNews: Bool
      switch rule {
      case .worker: isNews = square(g, held[worker]) > threshold
      case .grid(let bits):
        next = points(g, held[worker], bits: bits)
        error = square(g, next)
        isNews = square(next, held[worker]) > threshold + 3 * (error + errors[worker])
      case .server(let smoothness):
        let moved = square(model, old[worker])
        if moved > 0 { estimates[worker] = max(estimates[worker], square(g, held[worker]) / moved) }
        isNews = (smoothness.map { $0[worker] * $0[worker] } ?? estimates[worker]) * moved > threshold
      }
      guard isNews || step < start || silence[worker] >= longestSilence || held.count == 1 else {
        silence[worker] += 1
        continue
      }
      (held[worker], old[worker], errors[worker]) = (held.count == 1 ? g : next, model, error)
      silence[worker] = 0
      uploads[worker] += 1
    }
    lastSum = model.indices.map { j in held.dropFirst().reduce(held[0][j]) { $0 + $1[j] } }
    let before = model
    for j in model.indices { model[j] -= rate * lastSum[j] }
    changes = [square(model, before) / (Double(rate) * Double(rate))] + changes
    step += 1
  }
}

/// A rank of a run by lazy sums, whose model takes steps of the rate times the sum.
final class LazyRank {
  let model: FloatBuffer
  let aggregation: any Aggregation
  private let contribution: SharedGradient
  private(set) var lastSum: [Float] = []
  private(set) var step = 0

  init(_ specification: String, model: [Float], _ transport: Transport = .auto) throws {
    let hosts = try HostMap(allRanks, transport: transport)
    self.model = FloatBuffer(count: model.count)
    self.model.set(model)
    contribution = try SharedGradient(count: model.count, hosts: hosts, isShared: true)
    var parts = AggregationParts(hosts: hosts, layout: TensorLayout([("model", [model.count])]), gradients: [contribution])
    parts.model = self.model
    aggregation = try aggregations.make(specification)(parts)
  }

  func run(rate: Float, _ gradient: (_ worker: Int, _ model: [Float]) -> [Float]) throws {
    contribution.values.set(gradient(allRanks.rank, model.array))
    let sum = FloatBuffer(count: model.count)
    sum.fill(.nan)
    try aggregation.run(Contribution(step: step, rate: rate), into: .buffer(sum))
    for j in 0..<model.count { model[j] -= rate * sum[j] }
    lastSum = sum.array
    step += 1
  }
}
