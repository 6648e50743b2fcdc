public import Buffers
internal import Files
internal import MPI

extension CheckpointStore {
  /// The outcome of saving.
  public enum Outcome: Hashable, Sendable {
    /// The checkpoint is on disk at this path.
    case saved(path: String)
    /// The checkpoint of this step already existed.
    case unchanged(path: String)
    /// It could not be written; earlier checkpoints are intact. The warning is nil if it has already been given.
    case failed(warning: String?)
  }

  /// Saves the state after `step` steps, then removes the checkpoints older than the newest `keep`.
  ///
  /// Saving does not change the state. A kill at any moment leaves the previous checkpoint intact.
  /// - Communication: three all-gathers of a few bytes per rank; some more on failure.
  /// - Returns: The same on every rank. A full or unwritable disk is an outcome; only MPI throws.
  public func save(_ state: StateInventory, step: Int, options: [String: String]) throws -> Outcome {
    let name = SavedRun.directoryName(step: step)
    let path = "\(directory)/\(name)"
    if let newest, newest.step == step { return .unchanged(path: newest.path) }
    let partial = "\(directory)/\(SavedRun.partialName(step: step))"
    agreement.activity = "the checkpoint at step \(step)"

    var problem = try agreement.firstProblem(
      problem {
        guard world.rank == 0 else { return }
        try SavedRun.removeOwn(partial, step: step)
        guard !Directory.exists(partial) else {
          throw CheckpointError(.inputOutput, "\(partial) is in the way, and holds what no checkpoint does; move it away")
        }
        try Directory.make(partial)
      })
    if problem == nil {
      problem = try write(state, step: step, options: options, partial: partial, path: path)
    }
    if let (rank, error) = problem {
      if world.rank == 0 { try? SavedRun.removeOwn(partial, step: step) }
      defer { hasWarned = true }
      let who = world.count == 1 ? "" : "rank \(rank): "
      return .failed(warning: hasWarned ? nil : "no checkpoint at step \(step): \(who)\(error); the run goes on")
    }
    (newest, hasWarned) = ((step, path), false)
    damaged.remove(name)
    if world.rank == 0 { removeOld() }
    return .saved(path: path)
  }

  /// Writes the files of all ranks and the record, then renames the directory.
  private func write(
    _ state: StateInventory, step: Int, options: [String: String], partial: String, path: String
  ) throws -> (rank: Int, error: CheckpointError)? {
    var model = Safetensors.Summary(hash: 0, byteCount: 0)
    var own = model
    let writing = problem {
      if world.rank == 0 {
        model = try Safetensors.write(
          state.model, metadata: [("format", "morse model"), ("step", String(step))],
          to: "\(partial)/\(SavedRun.modelName)")
      }
      own = try Safetensors.write(
        state.tensors(savedBy: world.rank), metadata: metadata(of: state),
        to: "\(partial)/\(SavedRun.stateName(rank: world.rank))")
    }
    if let problem = try agreement.firstProblem(writing) { return problem }
    let summaries = try agreement.gather([own.hash, UInt64(own.byteCount)])
    return try agreement.firstProblem(
      problem {
        guard world.rank == 0 else { return }
        var files = [SavedRun.FileRecord(name: SavedRun.modelName, bytes: model.byteCount, hash: hexadecimal(model.hash))]
        for (rank, summary) in summaries.enumerated() {
          files.append(
            .init(name: SavedRun.stateName(rank: rank), bytes: Int(summary[1]), hash: hexadecimal(summary[0])))
        }
        var counters = state.counters
        counters["step"] = String(step)
        let run = SavedRun(
          path: path, step: step, ranks: world.count, options: options, counters: counters, placement: placement,
          files: files)
        try File.writeText(run.recordText, to: "\(partial)/\(SavedRun.recordName)")
        try Directory.synchronize(partial)
        try clear(path, step: step)
        try Directory.rename(partial, to: path)
        try Directory.synchronize(directory)
      })
  }

  /// The metadata of a state file: this rank's counters, and the places of its pieces of flat vectors.
  private func metadata(of state: StateInventory) -> [(key: String, value: String)] {
    let counters = state.ownCounters.sorted { $0.key < $1.key }.map { (key: "counter." + $0.key, value: $0.value) }
    let places = state.tensors.compactMap { tensor -> (key: String, value: String)? in
      guard case .owned(let ranges) = tensor.placement else { return nil }
      let text = ranges.map { "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
      return (SavedRun.placeKey(of: tensor.name), text)
    }
    return [("rank", String(world.rank)), ("ranks", String(world.count))] + places + counters
  }

  /// Removes the checkpoints older than the newest `keep` complete ones; what cannot be removed stays, and does no harm.
  ///
  /// Only directories named and filled by a store are counted and removed; others are not its own.
  private func removeOld() {
    guard let names = try? Directory.names(in: directory) else { return }
    let own = names.compactMap { name in SavedRun.step(ofDirectory: name).map { (name, step: $0) } }
      .filter { SavedRun.isOwn("\(directory)/\($0.0)", step: $0.step) }
    let steps = own.filter { !damaged.contains($0.0) }.map(\.step).sorted(by: >)
    guard steps.count >= keep else { return }
    for (_, step) in own where step < steps[keep - 1] { try? retire(step) }
  }

  /// Removes a checkpoint written by a store.
  ///
  /// It is renamed first, so that half a checkpoint never has its name.
  private func retire(_ step: Int) throws {
    let path = "\(directory)/\(SavedRun.directoryName(step: step))"
    guard SavedRun.isOwn(path, step: step) else { return }
    let hidden = "\(directory)/\(SavedRun.retiredName(step: step))"
    try SavedRun.removeOwn(hidden, step: step)
    try Directory.rename(path, to: hidden)
    try SavedRun.removeOwn(hidden, step: step)
  }

  /// Makes room for a checkpoint at `path`: removes a store's checkpoint there, and renames anything else.
  private func clear(_ path: String, step: Int) throws {
    try retire(step)
    guard Directory.exists(path) else { return }
    let free = (1...).lazy.map { "\(path).kept-\($0)" }.first { !Directory.exists($0) }
    if let free { try Directory.rename(path, to: free) }
  }
}
