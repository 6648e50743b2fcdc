internal import Buffers
internal import MPI
internal import Networks
internal import Optimizers
internal import PointToPoint
internal import Transport

/// The optimizers of workers that take steps of their own, one for each worker of this rank.
///
/// Their state is saved by worker, so that it is found again on any number of ranks.
final class WorkerOptimizers {
  private let hosts: HostMap
  private let workers: RankWorkers
  private let workerCount: Int
  private let parameterCount: Int
  /// By local worker.
  private let optimizers: [any Optimizer]
  /// The counters of all workers' optimizers at the last meeting, by the names under which they are saved.
  private var counters: [String: String] = [:]
  /// The traffic of meetings.
  private(set) var traffic = Traffic()
  /// The number of workers of the checkpoint that is loaded, if a worker may be missing there.
  private var savedCount: Int?

  /// Optimizers that have seen no gradient, made by `make`.
  init(_ parts: StrategyParts, workerCount: Int, make: () -> any Optimizer) {
    (hosts, self.workerCount, parameterCount) = (parts.hosts, workerCount, parts.network.layout.count)
    workers = RankWorkers(of: workerCount, rank: parts.hosts.world.rank, rankCount: parts.hosts.world.count)
    optimizers = workers.ids.map { _ in make() }
  }

  /// Descent with Nesterov's momentum if the strategy names it, else optimizers like that of the run.
  convenience init(_ parts: StrategyParts, _ settings: AsynchronySettings, workerCount: Int) {
    let layout = parts.network.layout
    self.init(parts, workerCount: workerCount) {
      guard case .elastic(_, let delta?, _) = settings.method else { return parts.optimizer.fresh() }
      let optimizerSettings = OptimizerSettings(
        layout: layout, momentum: delta, weightDecay: Float(parts.options.weightDecay), minibatch: parts.plan.minibatch)
      return StochasticGradientDescent(optimizerSettings, style: MomentumStyle(isNesterov: true))
    }
  }

  /// Takes a step of a worker of this rank.
  func step(_ worker: Int, _ values: FloatBuffer, _ gradient: FloatBuffer, rate: Float, samples: Int) {
    let optimizer = optimizers[workers.local(worker)]
    optimizer.prepare(samples: samples, share: 1)
    optimizer.update(0..<values.count, of: values, with: gradient.baseAddress, rate: rate)
    optimizer.finish(values, rate: rate)
  }

  func forgetMomentum() { for optimizer in optimizers { optimizer.forgetMomentum() } }

  private func state(_ local: Int) -> StateInventory {
    var state = StateInventory()
    optimizers[local].contribute(to: &state)
    return state
  }

  /// Lets a worker that the checkpoint of `savedCount` workers lacks begin with what its first has saved.
  func prepareToLoad(_ inventory: inout StateInventory, savedBy savedCount: Int) {
    self.savedCount = savedCount
    for local in optimizers.indices where workers.id(local) >= savedCount {
      for name in state(local).tensors.map(\.name) {
        let (saved, own) = (StateInventory.name(name, ofWorker: 0), StateInventory.name(name, ofWorker: workers.id(local)))
        inventory.tensors = inventory.tensors.map { $0.name == own ? $0.renamed(saved) : $0 }
      }
    }
  }

  /// Learns the counters of all workers, which are saved once.
  ///
  /// Collective.
  func meet() throws {
    let names = state(0).counters.keys.sorted()
    guard !names.isEmpty else { return }
    let own = optimizers.indices.flatMap { local in
      let counters = state(local).counters
      return names.map { counters[$0].flatMap { UInt64($0) } ?? 0 }
    }
    let all = try hosts.gather(own, activity: "the optimizers of workers", counting: &traffic)
    for worker in 0..<workerCount {
      let (local, rank) = (workers.local(worker), workers.rank(of: worker))
      for (index, name) in names.enumerated() {
        counters[StateInventory.name(name, ofWorker: worker)] = String(all[rank * own.count + local * names.count + index])
      }
    }
  }

  func contribute(to inventory: inout StateInventory) {
    for local in optimizers.indices {
      inventory.tensors += state(local).tensors.map { $0.owned(0..<parameterCount).ofWorkers(workers.id(local)) }
    }
    inventory.counters.merge(counters) { $1 }
  }

  func restore(counters: [String: String]) {
    for local in optimizers.indices {
      let worker = workers.id(local) < savedCount ?? .max ? workers.id(local) : 0
      optimizers[local].restore(counters: StateInventory.counters(counters, ofWorker: worker))
    }
    for worker in 0..<workerCount {
      for (name, value) in StateInventory.counters(counters, ofWorker: worker) {
        self.counters[StateInventory.name(name, ofWorker: worker)] = value
      }
    }
  }
}
