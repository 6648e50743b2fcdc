public import Buffers
internal import Checkpoints
internal import Collectives
internal import Datasets
internal import Files
public import MPI
internal import Networks
internal import Strategies
internal import Transport

/// A model in a checkpoint, with the data to evaluate it on.
public struct SavedModel {
  let run: SavedRun
  let data: String
  let parameters: FloatBuffer
  let network: any Network
  let dataset: any Dataset
  let rankCount: Int
  let statistics: ModelStatistics?
  private let evaluator: Evaluator

  /// Reads the newest intact checkpoint in `directory`, or `directory` itself if it is a checkpoint.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - directory: Where checkpoints are, or one of them.
  ///   - data: The data to evaluate on; nil for those of the run.
  ///   - seed: The seed of drawn data; nil for that of the run.
  ///   - world: The ranks that share the work.
  /// - Throws: `TrainingError` or `CheckpointError`, on all ranks alike.
  public init(_ directory: String, data: String? = nil, seed: UInt64? = nil, on world: Communicator) throws {
    let agreement = try Agreement(world: world, activity: "reading a model", patience: TrainerOptions().waiting())
    let (run, parts) = try SavedModel.newest(in: directory, over: agreement)
    (self.run, rankCount) = (run, world.count)
    var options = TrainerOptions()
    let grid = try RankGrid(HostMap(world, patience: options.waiting()))
    let records = try RecordExchange(grid.all)
    try together(agreement, otherwise: .inputOutput) { try prepareProducts(threads: 1) }
    (self.data, parameters, statistics, network, dataset, evaluator) = try together(agreement, otherwise: .configuration) {
      for (name, text) in run.options { try options.set(name, to: text) }
      if let data { options.data = data }
      if let seed { options.seed = seed }
      let recipe = try Recipe(options)
      let dataset: any Dataset
      do { dataset = try recipe.dataset(options.seed) } catch  where data == nil {
        let status = exitStatus(of: error).flatMap(TrainingError.ExitStatus.init) ?? .configuration
        throw TrainingError("the run's data cannot be read: \(error); --data says where they are now", exitStatus: status)
      }
      let network = try recipe.network(dataset.form)
      var need = MemoryNeed()
      need.add("parameters", network.layout.count)
      let sampleCount = min(Evaluator.batchSize(of: network), dataset.count(.test) / world.count)
      need.add("activations", sampleCount * network.bytesOfSample, of: 1)
      try need.checkLimits()
      let parameters = FloatBuffer(count: network.layout.count)
      let statistics = ModelStatistics(network, on: grid)
      try parts.read(
        into: network.layout.tensors.map { SavedTensor($0.name, shape: $0.shape, of: parameters, range: $0.range) }
          + (statistics?.tensors ?? []))
      return (
        options.data, parameters, statistics, network, dataset, Evaluator(dataset, network: network, on: grid, over: records)
      )
    }
  }

  /// Evaluates the model on the test samples.
  ///
  /// Collective.
  public func evaluate() throws -> Evaluation { try evaluator.evaluate(parameters) }

  /// The log posteriors of all test samples: samples × classes, or samples × positions × classes of a text.
  ///
  /// On one rank.
  public func logPosteriors() throws -> NumpyFile {
    guard rankCount == 1 else {
      throw TrainingError("posteriors are computed on one rank, and this job has \(rankCount)", exitStatus: .usage)
    }
    let (form, sampleCount) = (dataset.form, dataset.count(.test))
    let rowLength = form.targetCount * form.classCount
    let axes = [sampleCount] + (form.targetCount > 1 ? [form.targetCount] : []) + [form.classCount]
    try MemoryLimit.require(4 * sampleCount * rowLength, for: "the posteriors")
    let all = FloatBuffer(count: sampleCount * rowLength)
    let batch = Minibatch(capacity: 32, of: form)
    let part = FloatBuffer(count: batch.capacity * rowLength)
    for start in stride(from: 0, to: sampleCount, by: batch.capacity) {
      let end = min(start + batch.capacity, sampleCount)
      dataset.load(start..<end, of: .test, into: batch)
      _ = try network.evaluate(batch, parameters: parameters, logPosteriors: part)
      (all.baseAddress + start * rowLength).update(from: part.baseAddress, count: (end - start) * rowLength)
    }
    return NumpyFile(shape: axes, values: all)
  }

  /// The result as a sentence for users.
  public func sentence(for result: Evaluation) -> String {
    "\(run.path), step \(run.step), on \(data): \(result.text), "
      + "model \(hexadecimal(statistics?.hash(with: parameters) ?? parameters.hash()))"
  }

  /// The newest intact checkpoint in `directory`, or `directory` itself, with its parameters open for reading: a job that
  /// writes there may remove a checkpoint while it is examined, and then the next one is taken.
  private static func newest(in directory: String, over agreement: Agreement) throws -> (SavedRun, OpenModel) {
    let store = CheckpointStore(directory: directory, over: agreement)
    var seen: String?
    var reasons: [String] = []
    while true {
      let paths = try together(agreement, otherwise: .inputOutput) { try SavedModel.paths(in: directory) }
      // Ranks may have seen different ones: rank 0's list counts.
      let list = try agreement.share(paths.joined(separator: "\0"))
      // A list that is unchanged is not being removed.
      guard list != seen else { break }
      (seen, reasons) = (list, [])
      for path in list.split(separator: "\0").map(String.init) {
        var model: OpenModel?
        switch try store.verify(path) {
        case .success(let run):
          let problem = problem { model = try OpenModel(run) }
          guard let (_, error) = try agreement.firstProblem(problem) else { return (run, model!) }
          reasons.append("\(error)")
        case .failure(let error): reasons.append("\(error)")
        }
      }
    }
    throw TrainingError(
      reasons.isEmpty
        ? "there is no checkpoint in \(directory)"
        : "no checkpoint in \(directory) is complete; \(reasons.joined(separator: "; "))",
      exitStatus: .configuration)
  }

  /// The checkpoints that `directory` may refer to, the best first.
  private static func paths(in directory: String) throws -> [String] {
    guard SavedRun.isCheckpoint(directory) else { return try SavedRun.names(in: directory).map { "\(directory)/\($0)" } }
    var path = directory
    while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
    return [path]
  }
}

/// The parameters of a checkpoint, whose file stays readable after it is removed.
private final class OpenModel {
  private let reader: SafetensorsReader

  init(_ run: SavedRun) throws { reader = try SafetensorsReader("\(run.path)/\(SavedRun.modelName)") }

  func read(into model: [SavedTensor]) throws { try reader.read(into: model) }
}
