internal import Buffers
internal import Collectives
internal import Datasets
public import MPI
internal import Networks

/// A model in a checkpoint, with the data to judge it by.
public struct SavedModel {
  private let run: SavedRun
  private let data: String
  private let parameters: FloatBuffer
  private let evaluator: Evaluator

  /// Reads the newest whole checkpoint in `directory`, or the one that `directory` is.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - directory: Where checkpoints are.
  ///   - data: The data to judge it by; those of the run where it is nil.
  ///   - seed: The seed of drawn data; that of the run where it is nil.
  ///   - world: The ranks that share the work.
  /// - Throws: `TrainingError` or `CheckpointError`, on all ranks alike.
  public init(_ directory: String, data: String? = nil, seed: UInt64? = nil, on world: Communicator) throws {
    let agreement = try Agreement(world: world, activity: "reading a model")
    run = try SavedModel.newest(in: directory, over: agreement)
    var options = TrainerOptions()
    let run = self.run
    let grid = try RankGrid(HostMap(world, patience: options.waiting()))
    let records = try RecordExchange(grid.all)
    try together(agreement, otherwise: .inputOutput) { try prepareBLAS(threads: 1) }
    (self.data, parameters, evaluator) = try together(agreement, otherwise: .configuration) {
      for (name, text) in run.options { try options.set(name, to: text) }
      if let data { options.data = data }
      if let seed { options.seed = seed }
      let recipe = try Recipe(options)
      let dataset = try recipe.dataset(options.seed)
      let network = try recipe.network(dataset.featureCount, dataset.classCount)
      var need = MemoryNeed()
      need.add("parameters", network.layout.count)
      try need.checkLimits()
      let parameters = FloatBuffer(count: network.layout.count)
      try run.loadModel(
        into: network.layout.tensors.map { SavedTensor($0.name, shape: $0.shape, of: parameters, range: $0.range) })
      return (options.data, parameters, Evaluator(dataset, network: network, on: grid, over: records))
    }
  }

  /// Judges it on the test samples; collective.
  public func evaluate() throws -> Evaluation { try evaluator.evaluate(parameters) }

  /// What came out, as people read it.
  public func sentence(for result: Evaluation) -> String {
    let digits = result.digitAccuracy.map { ", digits \(decimal($0 * 100, digits: 2)) %" } ?? ""
    return "\(run.path), step \(run.step), on \(data): test loss \(decimal(result.loss, digits: 4)), accuracy "
      + "\(decimal(result.accuracy * 100, digits: 2)) %\(digits), model \(hexadecimal(parameters.hash()))"
  }

  private static func newest(in directory: String, over agreement: Agreement) throws -> SavedRun {
    let paths = try together(agreement, otherwise: .inputOutput) {
      if Directory.exists("\(directory)/\(SavedRun.recordName)") {
        var path = directory
        while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
        return [path]
      }
      let steps = try Directory.names(in: directory).compactMap(SavedRun.step(ofDirectory:)).sorted(by: >)
      return steps.map { "\(directory)/\(SavedRun.directoryName(step: $0))" }
    }
    var reasons: [String] = []
    // Ranks may have seen a directory in which another job writes: rank 0's list is the one that counts.
    let list = try agreement.share(paths.joined(separator: "\n"))
    let store = CheckpointStore(directory: directory, over: agreement)
    for path in list.split(separator: "\n") {
      switch try store.verify(String(path)) {
      case .success(let run): return run
      case .failure(let error): reasons.append("\(error)")
      }
    }
    throw TrainingError(
      reasons.isEmpty
        ? "there is no checkpoint in \(directory)"
        : "no checkpoint in \(directory) is whole; \(reasons.joined(separator: "; "))",
      exitStatus: .configuration)
  }
}
