package import Buffers
internal import Collectives
internal import MPI
internal import Networks
internal import Optimizers
internal import Reporting
package import Transport

/// Computes a rank's part of the mean gradient of a step, and checks each tensor while it is in the cache.
package final class GradientComputation {
  private let parts: StrategyParts
  private let injection: NonFiniteInjection?
  private let transforms: [any RankTransform]
  /// The residuals of a run on more ranks, until the next gradient that counts has included them; nil otherwise.
  var inherited: FloatBuffer?
  /// Called between the layers of the network.
  var betweenLayers: (() -> Void)?
  /// Seconds spent computing.
  private(set) var seconds = 0.0
  /// Seconds spent waiting for the other slices of the model, and for the statistics of other ranks.
  private(set) var waitingSeconds = 0.0

  package init(_ parts: StrategyParts) {
    self.parts = parts
    transforms = GradientTransforms.atRank(parts.transformParts)
    injection = parts.options.injectNonFinite.flatMap(NonFiniteInjection.init)
  }

  /// Loads samples of this rank, computes their gradient, and reports it to the course: what every strategy does for a gradient.
  ///
  /// - Parameters:
  ///   - step: The step, from 0.
  ///   - course: Measures how long it takes, and with `traffic` takes note of its loss.
  ///   - sampleCount: N, the samples of the whole step over all ranks; nil for the mean over the samples that are loaded, which may
  ///     be none.
  ///   - part, share, parameters, gradient, ready: Those of `compute(_:of:part:among:share:at:into:ready:)`.
  ///   - traffic: This rank's traffic since the last meeting; nil if ranks meet after each gradient, so that there is nothing to note.
  ///   - load: Loads the samples.
  /// - Returns: This rank's statement about it; of no samples if there is nothing to take the mean over.
  /// - Throws: What the network throws.
  package func compute(
    _ step: Int, on course: Course, part: Int? = nil, among sampleCount: Int? = nil, share: Float = 1,
    at parameters: FloatBuffer? = nil, into gradient: FloatBuffer, ready: (_ end: Int) -> Void = { _ in },
    traffic: () -> Traffic? = { nil }, of load: () -> Minibatch
  ) throws -> StepAgreement.Statement {
    let batch = try parts.timeline.span(.data) { load() }
    guard sampleCount != nil || batch.count > 0 else { return .ofNoSamples }
    let secondsBefore = seconds
    let found = try compute(
      step, of: batch, part: part, among: sampleCount ?? batch.count, share: share, at: parameters, into: gradient,
      ready: ready)
    course.measure(step, batch.count, seconds - secondsBefore)
    if let traffic = traffic() {
      let loss = LossTally(lossSum: found.lossSum, sampleCount: found.sampleCount)
      course.note(Course.OwnSteps(step: step, loss: loss, traffic: traffic))
    }
    return found
  }

  /// Computes (1/N)·Σ of the gradients of this rank's samples, N being the samples of the whole step over all ranks.
  ///
  /// - Parameters:
  ///   - step: The step, from 0.
  ///   - batch: This rank's samples of the step, or of a part of it.
  ///   - part: Which part, if steps are done in parts.
  ///   - sampleCount: N.
  ///   - share: The samples of the part over all ranks, as a share of N.
  ///   - parameters: Where to compute it; the model of the run if nil.
  ///   - gradient: The output.
  ///   - ready: Called as tensors become final, with the end of the final part of the flat buffer.
  /// - Returns: This rank's statement about it.
  /// - Throws: What the network throws.
  func compute(
    _ step: Int, of batch: Minibatch, part: Int? = nil, among sampleCount: Int, share: Float = 1,
    at parameters: FloatBuffer? = nil, into gradient: FloatBuffer, ready: (_ end: Int) -> Void = { _ in }
  ) throws -> StepAgreement.Statement {
    let (stopwatch, waitedBefore) = (Stopwatch(), waited)
    defer {
      waitingSeconds += waited - waitedBefore
      seconds += stopwatch.seconds - (waited - waitedBefore)
    }
    try FaultInjector.reach(.computing)
    let parameters = parameters ?? parts.parameters
    let marks = parts.timeline.map(ComputeMarks.init)
    parts.network.betweenLayers =
      marks.map { marks in { [betweenLayers] in marks.betweenLayers(betweenLayers) } } ?? betweenLayers
    defer { parts.network.betweenLayers = nil }
    var watch = FiniteWatch()
    let tensors = parts.network.layout.tensors
    let isInjected = injection?.strikes(step: step, part: part, rank: parts.grid.all.world.rank) ?? false
    let result = try parts.network.gradient(
      of: batch, parameters: parameters, scale: 1 / Float(sampleCount), into: gradient
    ) { tensor in
      let range = tensors[tensor].range
      if isInjected && tensor == 0 && !range.isEmpty { gradient[range.lowerBound] = .nan }
      for transform in transforms { transform.transform(tensor, of: gradient, at: parameters, share: share) }
      // Inherited residuals are already scaled.
      if let inherited { for index in range { gradient.baseAddress[index] += inherited.baseAddress[index] } }
      watch.look(at: tensor, range: range, of: gradient, clears: parts.options.nonFinite == .zero)
      marks?.ready(tensor)
      ready(range.upperBound)
    }
    // The slices of a model see the same samples: the first reports them.
    let isFirst = parts.grid.slice == 0
    return StepAgreement.Statement(
      sampleCount: isFirst ? batch.count : 0, correctCount: isFirst ? result.correct : 0,
      nonFiniteTensor: watch.firstTensor, clearedValues: watch.clearedValues, lossSum: isFirst ? result.lossSum : 0)
  }

  private var waited: Double {
    (parts.blocks?.waiting ?? .zero) / .seconds(1) + (parts.statistics?.waitingSeconds ?? 0)
  }

  /// Marks the gradient computed last as accepted: it will be exchanged and applied.
  package func accept() {
    inherited = nil
    parts.network.accept()
    for transform in transforms { transform.commit() }
  }

  /// Adds the state kept about gradients to the inventory.
  func contribute(to inventory: inout StateInventory) {
    for transform in transforms { transform.contribute(to: &inventory) }
  }

  /// Restores the counters.
  func restore(counters: [String: String]) { for transform in transforms { transform.restore(counters: counters) } }
}
