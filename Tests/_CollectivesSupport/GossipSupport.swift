import Buffers
import Codecs
import MPI
import PointToPoint
import Transport

/// Workers that mix their models, on the ranks of a communicator.
struct GossipTrial {
  let exchange: GossipExchange
  let workerCount: Int
  let count: Int

  init(
    _ method: GossipExchange.Method, workers: Int, count: Int, combinesFirst: Bool = false, seed: UInt64 = 3,
    on ranks: Communicator = allRanks, hosts: HostMap? = nil
  ) throws {
    var settings = GossipExchange.Settings(method, workerCount: workers, combinesFirst: combinesFirst)
    settings.seed = seed
    exchange = try GossipExchange(
      hosts ?? HostMap(ranks), layout: TensorLayout([("w", [max(1, count / 256), min(256, count)])]),
      settings: settings)
    (workerCount, self.count) = (workers, max(1, count / 256) * min(256, count))
    exchange.start(from: FloatBuffer(count: self.count))
  }

  /// Sets a vector of each worker: its model, or another that is saved.
  func set(_ vectors: [[Float]], _ name: String = "models") throws {
    let state = exchange.state.first { $0.name == name }!
    for (local, id) in exchange.ids.enumerated() {
      for place in 0..<count { state.buffer[local * count + place] = vectors[id][place] }
    }
    try exchange.settleState()
  }

  /// Takes steps; with gradients at a rate of 1 if there are any.
  @discardableResult
  func run(_ steps: Range<Int>, gradient: ((_ worker: Int, _ step: Int, _ place: Int, _ x: Float) -> Float)? = nil) throws
    -> Int
  {
    try exchange.run(steps) { worker, step, parameters, buffer, serve in
      guard let gradient else { return 0 }
      for place in 0..<count { buffer[place] = gradient(worker, step, place, parameters[place]) }
      serve()
      return 1
    } update: { _, _, model, gradient, _ in
      for place in 0..<count { model[place] -= gradient[place] }
    }
  }

  /// The models of all workers, at which gradients are computed; collective.
  func models() throws -> [[Float]] {
    try (0..<workerCount).map { worker in
      let copy = try exchange.copy(of: worker)
      return (0..<count).map { copy[$0] }
    }
  }

  /// The sums over all workers of a vector that is saved, in fp64; collective.
  func sums(_ name: String = "models") throws -> [Double] {
    let state = exchange.state.first { $0.name == name }!
    var sums = Array(repeating: 0.0, count: state.count)
    for place in 0..<state.buffer.count { sums[place % state.count] += Double(state.buffer[place]) }
    let all = try allRanks.allGather(sums)
    return (0..<state.count).map { place in (0..<allRanks.count).reduce(0) { $0 + all[$1 * state.count + place] } }
  }
}

extension [[Float]] {
  /// Σ‖x_i − x̄‖².
  var distance: Double {
    self[0].indices.reduce(0) { sum, place in
      let mean = reduce(0.0) { $0 + Double($1[place]) } / Double(count)
      return sum + reduce(0.0) { $0 + (Double($1[place]) - mean) * (Double($1[place]) - mean) }
    }
  }

  /// The mean of the vectors.
  var mean: [Double] { self[0].indices.map { place in reduce(0.0) { $0 + Double($1[place]) } / Double(count) } }
}

/// How far a mean is from another, relative to that.
func drift(_ mean: [Double], from start: [Double]) -> Double {
  let difference = zip(mean, start).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  return (difference / start.reduce(0) { $0 + $1 * $1 }).squareRoot()
}

/// Normal values, of each worker its own.
func normalModels(workers: Int, count: Int, seed: Int = 1) -> [[Float]] {
  let random = Philox(seed: UInt64(seed), purpose: .tests)
  return (0..<workers).map { worker in
    (0..<count).map { place in
      // Twelve uniform numbers have nearly a normal sum.
      (0..<12).reduce(-6) { $0 + random.uniform(12 * place + $1, tensor: worker) }
    }
  }
}

/// The largest values of a group as they are, each with its place.
struct Largest: Codec {
  let kept: Int
  let size: Int
  let name = "largest"
  let specification = "largest"
  let isIdentity = false
  var grouping: Grouping { .elements(size) }

  func codeByteCount(of count: Int) -> Int { 8 * min(kept, count) }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    for place in 0..<count { residual[place] += gradient[place] }
    let order = (0..<count).sorted { (-residual[$0].magnitude, $0) < (-residual[$1].magnitude, $1) }
    for (index, place) in order.prefix(kept).enumerated() {
      code.storeBytes(of: UInt32(place), toByteOffset: 8 * index, as: UInt32.self)
      code.storeBytes(of: residual[place], toByteOffset: 8 * index + 4, as: Float.self)
      residual[place] = 0
    }
    return codeByteCount(of: count)
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    values.update(repeating: 0, count: count)
    decode(code, byteCount: byteCount, count: count, addingTo: values)
  }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    for index in 0..<byteCount / 8 {
      values[Int(code.load(fromByteOffset: 8 * index, as: UInt32.self))] += code.load(
        fromByteOffset: 8 * index + 4, as: Float.self)
    }
  }
}
