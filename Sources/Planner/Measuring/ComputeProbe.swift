package import Buffers
internal import Codecs
package import Collectives
package import Datasets
internal import MPI
internal import Networks
internal import Optimizers
package import Strategies
internal import Transport

/// Measures the cost of computing: gradients of the real network on real samples, on all ranks at once, and the update.
///
/// They are computed in the frame in which strategies do their steps, and update the model as theirs do, with all transforms of the
/// run.
package struct ComputeProbe {
  let repetitions: Repetitions
  let parts: StrategyParts
  let dataset: any Dataset

  /// A probe of a run with these parts on the samples of `dataset`.
  package init(repetitions: Repetitions, parts: StrategyParts, dataset: any Dataset) {
    (self.repetitions, self.parts, self.dataset) = (repetitions, parts, dataset)
  }

  /// Seconds of a rank's gradient, including reading its samples and the agreement on the step, for several sample counts.
  ///
  /// The last gradient is left in `gradient`.
  ///
  /// The time that ranks wait for one another at the agreement belongs to computing, so it is measured with it.
  ///
  /// Collective. The largest sample count is a whole minibatch on one rank, unless that takes too long.
  package func gradientCurve(_ effort: Repetitions.Effort, into gradient: FloatBuffer) throws -> CostCurve {
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

  /// Seconds of the gradient of `count` samples on each rank, and of the agreement.
  private func seconds(samples count: Int, _ effort: Repetitions.Effort, into gradient: FloatBuffer) throws -> Double {
    try repetitions.seconds(effort, work(samples: count, into: gradient))
  }

  /// Returns a function that does the next step of `count` samples on each rank up to its exchange.
  func work(samples count: Int, into gradient: FloatBuffer) -> () throws -> Void {
    work(samples: count) { try $0.run($1, on: $2, into: gradient, needsNorm: false) }
  }

  /// Returns a function that computes the gradient of the next `count` samples on this rank, whatever the others do.
  package func workAlone(samples count: Int, into gradient: FloatBuffer) -> () throws -> Void {
    work(samples: count) { _ = try $0.compute($1, on: $2, into: gradient, needsNorm: false) }
  }

  private func work(
    samples count: Int, _ body: @escaping (StepFrame, _ step: Int, Course) throws -> Void
  ) -> () throws -> Void {
    let (parts, loader) = steps(samples: count)
    let frame = StepFrame(parts, driver: ExchangeDriver(.off))
    let course = Course(loader: loader, rate: { _ in 0 }, isMeasured: { _ in false })
    var step = 0
    return { [plan = parts.plan] in
      try body(frame, step, course)
      frame.computation.accept()
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
  package func stepSeconds(
    _ aggregation: AggregationRecipe, samples count: Int, _ effort: Repetitions.Effort
  ) throws -> Double {
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
  /// It updates scratch parameters from a gradient that is in the cache as a decoded one is; the optimizer's state is lost.
  ///
  /// Collective.
  func updateSeconds(_ effort: Repetitions.Effort) throws -> Double {
    let count = parts.network.layout.count
    var parts = parts
    parts.parameters = FloatBuffer(count: count)
    let update = ModelUpdate(parts)
    let piece = 1024
    let gradient = FloatBuffer(count: piece)
    return try repetitions.seconds(effort, by: .slowest) {
      try update.apply(rate: 0, samples: parts.plan.minibatch) { sink in
        for start in stride(from: 0, to: count, by: piece) {
          let range = start..<min(start + piece, count)
          switch sink {
          case .update(let update): update(range, gradient.baseAddress)
          case .buffer(let buffer): (buffer.baseAddress + start).update(from: gradient.baseAddress, count: range.count)
          case .inPlace, .change: fatalError("a plan updates with gradients")
          }
        }
      }
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
