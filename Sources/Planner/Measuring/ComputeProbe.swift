internal import Buffers
internal import Codecs
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Optimizers
internal import Trainer
internal import Transport

/// Measures the cost of computing: gradients of the real network on real samples, on all ranks at once, and the update.
struct ComputeProbe {
  let repetitions: Repetitions
  let parts: StrategyParts
  let dataset: any Dataset

  /// Seconds of a rank's gradient, including reading its samples and the meeting after it, for several sample counts.
  ///
  /// The last gradient is left in `gradient`.
  ///
  /// The time that ranks wait for one another at the meeting belongs to computing, so it is measured with it.
  ///
  /// Collective. The largest sample count is a whole minibatch on one rank, unless that takes too long.
  func gradientCurve(_ effort: Repetitions.Effort, into gradient: FloatBuffer) throws -> CostCurve {
    let ranks = parts.hosts.world.count
    let share = (parts.plan.minibatch - 1) / ranks + 1
    let most = max(1, min(parts.plan.minibatch, parts.plan.sampleCount / ranks))
    var points: [CostCurve.Point] = []
    for count in Set([max(1, share / 4), max(1, share / 2), min(share, most), min(2 * share, most), most]).sorted() {
      if let last = points.last, last.seconds * Double(count) / last.amount > 2 * effort.seconds { break }
      points.append(.init(Double(count), try seconds(samples: count, effort, into: gradient)))
    }
    return CostCurve(points)
  }

  /// Seconds of the gradient of `count` samples on each rank, and of the meeting.
  private func seconds(samples count: Int, _ effort: Repetitions.Effort, into gradient: FloatBuffer) throws -> Double {
    try repetitions.seconds(effort, work(samples: count, into: gradient))
  }

  /// Returns a function that computes the gradient of the next `count` samples on each rank, and then meets.
  func work(samples count: Int, into gradient: FloatBuffer) -> () throws -> Void {
    let alone = workAlone(samples: count, into: gradient)
    return { [repetitions] in
      try alone()
      try repetitions.meet()
    }
  }

  /// Returns a function that computes the gradient of the next `count` samples on this rank, whatever the others do.
  func workAlone(samples count: Int, into gradient: FloatBuffer) -> () throws -> Void {
    let (parts, loader) = steps(samples: count)
    let computation = GradientComputation(parts)
    var step = 0
    return { [plan = parts.plan] in
      _ = try computation.compute(step, of: loader.batch(at: step), among: plan.minibatch, into: gradient)
      step = plan.next(after: step)
    }
  }

  /// A run whose steps have `count` samples on each rank, and its samples.
  private func steps(samples count: Int) -> (parts: StrategyParts, loader: BatchLoader) {
    let world = parts.hosts.world
    var parts = parts
    parts.options.minibatch = count * world.count
    parts.options.injectNonFinite = nil
    parts.options.warmStart = 0
    parts.plan = RunPlan(parts.options, sampleCount: parts.plan.sampleCount)
    let loader = BatchLoader(dataset, plan: parts.plan, seed: parts.options.seed, rank: world.rank, of: world.count)
    return (parts, loader)
  }

  /// Seconds of a whole step of `count` samples on each rank with `aggregation`, in a run without overlap.
  ///
  /// Collective. The parameters do not change; the optimizer's state is lost.
  func stepSeconds(_ aggregation: AggregationRecipe, samples count: Int, _ effort: Repetitions.Effort) throws -> Double {
    try parts.hosts.releasingMemory {
      var (parts, loader) = steps(samples: count)
      parts.aggregation = aggregation
      parts.options.overlap = .off
      let parameters = FloatBuffer(count: parts.parameters.count)
      parameters.copy(from: parts.parameters)
      parts.parameters = parameters
      let strategy = try strategies.make("all-reduce")(parts)
      var step = 0
      return try repetitions.seconds(effort) {
        _ = try strategy.step(step, from: loader, rate: 0, isMeasured: false)
        step = loader.plan.next(after: step)
      }
    }
  }

  /// Seconds of the update of the whole model, T_upd.
  ///
  /// It updates scratch parameters, with its own optimizer, from a gradient that is in the cache as a decoded one is.
  ///
  /// Collective.
  func updateSeconds(_ effort: Repetitions.Effort, _ optimizer: any Optimizer) throws -> Double {
    let count = parts.network.layout.count
    let scratch = FloatBuffer(count: count)
    let piece = 1024
    let gradient = FloatBuffer(count: piece)
    return try repetitions.seconds(effort, by: .slowest) {
      optimizer.prepare(samples: parts.plan.minibatch, share: 1)
      for start in stride(from: 0, to: count, by: piece) {
        optimizer.update(start..<min(start + piece, count), of: scratch, with: gradient.baseAddress, rate: 0)
      }
      optimizer.finish(scratch, rate: 0)
    }
  }

  /// Seconds of what owners do to a sum before it is encoded, C · T_post: all of it, by one rank; 0 if they do nothing.
  ///
  /// Collective.
  func postSeconds(_ effort: Repetitions.Effort) throws -> Double {
    guard let transform = GradientTransforms.atOwner(parts.transformParts) else { return 0 }
    let count = parts.network.layout.count
    let piece = 1024
    let values = FloatBuffer(count: piece)
    return try parts.grid.all.releasingMemory {
      try transform.attach(ownedRanges: [0..<count], isRestorable: false, hosts: parts.grid.all)
      return try repetitions.seconds(effort, by: .slowest) {
        transform.begin()
        for start in stride(from: 0, to: count, by: piece) {
          transform.transform(start..<min(start + piece, count), values.baseAddress)
        }
      }
    }
  }
}

extension RunPlan {
  /// The next step of the first epoch to measure; the last step of an epoch is shorter than the others.
  fileprivate func next(after step: Int) -> Int { step + 2 < stepsPerEpoch ? step + 1 : 0 }
}
