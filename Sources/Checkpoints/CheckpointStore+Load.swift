public import Buffers
internal import MPI

extension CheckpointStore {
  /// Reads a checkpoint found by ``open(resume:)`` into the memory of `state`, with its counters.
  ///
  /// With the number of ranks that saved it, every rank gets back exactly the bits it saved. With another number, the placement
  /// of each tensor defines what a rank takes (`StatePlacement`); counters of single ranks stay unchanged. With models in P
  /// slices this holds for the ranks of each slice, r mod P, separately; the checkpoint must have the same number of slices.
  /// Throws the same `CheckpointError` on every rank, naming the first tensor that differs from the file.
  public func load(_ run: SavedRun, into state: inout StateInventory) throws {
    var (counters, ownCounters) = (run.counters, state.ownCounters)
    let problem = problem {
      try SafetensorsReader("\(run.path)/\(SavedRun.modelName)").read(into: state.model)
      let slice = world.rank % state.sliceCount
      let shared = try SafetensorsReader("\(run.path)/\(SavedRun.stateName(rank: slice))")
      if run.ranks == world.count {
        let own = try SafetensorsReader("\(run.path)/\(SavedRun.stateName(rank: world.rank))")
        for (key, value) in own.metadata where key.hasPrefix("counter.") { ownCounters[String(key.dropFirst(8))] = value }
      }
      for tensor in state.tensors {
        switch tensor.placement {
        case .replicated: try shared.read(tensor)
        case .owned(let ranges): try loadOwned(tensor, ranges: ranges, from: run, sliceCount: state.sliceCount)
        case .equalShare where run.ranks != world.count:
          try loadSum(tensor, of: Array(stride(from: slice, to: run.ranks, by: state.sliceCount)), from: run)
          let shareCount = Float(world.count / state.sliceCount)
          for index in tensor.values.indices { tensor.values[index] /= shareCount }
        case .local where run.ranks != world.count: tensor.values.update(repeating: 0)
        case .summed, .equalShare, .local:
          // The old ranks of the same slice whose share goes to this rank.
          try loadSum(tensor, of: Array(stride(from: world.rank, to: run.ranks, by: world.count)), from: run)
        }
      }
    }
    if let (rank, error) = try agreement.firstProblem(problem) {
      throw CheckpointError(error.kind, rank == 0 ? error.description : "rank \(rank): \(error)")
    }
    counters["step"] = String(run.step)
    state.counters = counters
    state.ownCounters = ownCounters
  }

  /// Fills a tensor with the sum over the old ranks `sources`.
  private func loadSum(_ tensor: SavedTensor, of sources: [Int], from run: SavedRun) throws {
    guard let first = sources.first else {
      tensor.values.update(repeating: 0)
      return
    }
    try SafetensorsReader("\(run.path)/\(SavedRun.stateName(rank: first))").read(tensor)
    guard sources.count > 1 else { return }
    let piece = FloatBuffer(count: min(tensor.values.count, 1 << 18))
    for rank in sources.dropFirst() {
      let reader = try SafetensorsReader("\(run.path)/\(SavedRun.stateName(rank: rank))")
      let entry = try reader.entry(like: tensor)
      for start in stride(from: 0, to: tensor.values.count, by: max(piece.count, 1)) {
        let count = min(piece.count, tensor.values.count - start)
        let values = piece.values(in: 0..<count)
        try reader.read(entry, from: start, into: values)
        for index in 0..<count { tensor.values[start + index] += values[index] }
      }
    }
  }

  /// Fills this rank's pieces of a flat vector from those of the old ranks of its slice.
  private func loadOwned(_ tensor: SavedTensor, ranges: [Range<Int>], from run: SavedRun, sliceCount: Int) throws {
    let count = ranges.reduce(0) { $0 + $1.count }
    require(tensor.values.count == count, "\(tensor.name) does not hold the \(count) values of its ranges")
    var missing = count
    for rank in stride(from: world.rank % sliceCount, to: run.ranks, by: sliceCount) where missing > 0 {
      let reader = try SafetensorsReader("\(run.path)/\(SavedRun.stateName(rank: rank))")
      // A rank saves only what it has.
      guard let entry = reader.entry(tensor.name) else { continue }
      // Files of format version 1 have one place for all tensors.
      let place = reader.metadata[SavedRun.placeKey(of: tensor.name)] ?? reader.metadata["owned"]
      guard let saved = place.flatMap(ownedRanges),
        saved.reduce(0, { $0 + $1.count }) == entry.count
      else {
        throw CheckpointError(.configuration, "\(reader.path) has no tensor '\(tensor.name)' with its place")
      }
      var offset = 0
      for range in ranges {
        var savedOffset = 0
        for piece in saved {
          let common = range.clamped(to: piece)
          if !common.isEmpty {
            let start = offset + common.lowerBound - range.lowerBound
            let values = UnsafeMutableBufferPointer(rebasing: tensor.values[start..<start + common.count])
            try reader.read(entry, from: savedOffset + common.lowerBound - piece.lowerBound, into: values)
            missing -= common.count
          }
          savedOffset += piece.count
        }
        offset += range.count
      }
    }
    guard missing == 0 else {
      throw CheckpointError(
        .configuration, "\(run.path) lacks \(missing) of the \(count) values of '\(tensor.name)' for this rank")
    }
  }
}

/// Parses ranges such as `0-10,50-60`; an empty text has none.
///
/// Returns nil for anything else.
private func ownedRanges(_ text: String) -> [Range<Int>]? {
  var ranges: [Range<Int>] = []
  for piece in text.split(separator: ",") {
    let ends = piece.split(separator: "-").compactMap { Int($0) }
    guard ends.count == 2, 0 <= ends[0], ends[0] <= ends[1] else { return nil }
    ranges.append(ends[0]..<ends[1])
  }
  return ranges
}

extension SafetensorsReader {
  /// Reads the parameters of a whole model; throws `CheckpointError` naming the first tensor that differs from the file.
  package func read(into model: [SavedTensor]) throws {
    for tensor in model { _ = try entry(like: tensor) }
    if let entry = entries.first(where: { entry in !model.contains { entry.isNamed($0.name) } }) {
      throw CheckpointError(
        .configuration,
        "\(path) is of another model: it holds '\(entry.name)' of shape \(entry.shape), which this model lacks")
    }
    for tensor in model { try read(tensor) }
  }

  /// The tensor in the file that has the name and shape of `tensor`.
  func entry(like tensor: SavedTensor) throws -> Entry {
    guard let entry = entry(tensor.name) else {
      throw CheckpointError(
        .configuration, "\(path) is of another model: it lacks '\(tensor.name)' of shape \(tensor.place.shape)")
    }
    guard entry.shape == tensor.place.shape else {
      throw CheckpointError(
        .configuration,
        "\(path) is of another model: '\(tensor.name)' has the shape \(entry.shape) there and \(tensor.place.shape) here")
    }
    return entry
  }

  /// Reads the tensor of the same name and shape, or a part of it, into the memory of `tensor`.
  func read(_ tensor: SavedTensor) throws {
    try read(entry(like: tensor), from: tensor.place.start, into: tensor.values)
  }
}
