import ArgumentParser
import Buffers
import Collectives
import Foundation
import MPI
import Transport

/// One descent by lazily aggregated gradients, a worker on each rank; writes a JSON line.
struct LazyRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lazy-run", abstract: "Descend once, a worker on each rank of mpirun.", shouldDisplay: false)

  @Option var codec = "lazy"
  @Option var seed = 1
  @Flag var equal = false
  @Option(help: "The rate, as a share of 1/L.") var rate = 1.0
  @Option(help: "The suboptimality at which it ends, as a share of that of the start.") var target = 1e-6
  @Option var most = 3000
  @Option(help: "Samples of a minibatch; 0 for all.") var minibatch = 0

  func run() throws {
    let options = self
    withMPI { world in try options.descend(world) }
  }

  private func descend(_ world: Communicator) throws {
    let problem = LazyProblem(workers: world.count, isEqual: equal, seed: seed)
    let count = LazyProblem.dimension
    let (model, hosts) = (FloatBuffer(count: count), try HostMap(world))
    let contribution = try SharedGradient(count: count, hosts: hosts)
    var parts = AggregationParts(hosts: hosts, layout: TensorLayout([("model", [count])]), gradients: [contribution])
    parts.model = model
    let aggregation = try aggregations.make(codec)(parts)
    let random = Philox(seed: UInt64(seed), purpose: .dataOrder, stream: world.rank)
    let step = Float(rate / problem.smoothness)
    var values: [Double] { (0..<count).map { Double(model[$0]) } }
    func put(_ gradient: [Double], into buffer: FloatBuffer) {
      for j in 0..<count { buffer[j] = Float(gradient[j]) }
    }
    // Rank 0 says when it ends.
    let least = world.rank == 0 ? problem.leastLoss() : 0
    let first = problem.loss(at: values) - least
    var iterations = 0
    func share() -> Double { (problem.loss(at: values) - least) / first }
    func goesOn() throws -> Bool {
      try world.allGather([world.rank == 0 && share() > target && iterations < most ? Int32(1) : 0])[0] == 1
    }
    while try goesOn() {
      let samples =
        minibatch == 0
        ? nil : (0..<minibatch).map { Int(random.uniform(iterations * minibatch + $0) * Float(LazyProblem.sampleCount)) }
      put(problem.gradient(of: world.rank, at: values, samples: samples), into: contribution.values)
      if let point = aggregation.secondPoint {
        let old = (0..<count).map { Double(point.model[$0]) }
        put(problem.gradient(of: world.rank, at: old, samples: samples), into: point.gradient)
      }
      try aggregation.run(
        Contribution(step: iterations, rate: step),
        into: .update { range, sum in
          for j in range { model[j] -= step * sum[j - range.lowerBound] }
        })
      iterations += 1
    }
    guard world.rank == 0 else { return }
    let uploads = aggregation.uploads?.byRank ?? Array(repeating: iterations, count: world.count)
    let end = share()
    print(
      "{\"iterations\":\(iterations).0,\"suboptimality\":\(end.isFinite ? end : 99),"
        + "\"uploads\":[\(uploads.map { "\($0).0" }.joined(separator: ","))]}")
  }
}
