import Buffers
import Checkpoints
import Datasets
import Foundation
import MPI
import Networks
import Strategies
import Trainer

/// What a run has at its start, for tests that do its steps in a few plain lines: they share network and data with it, and no more.
struct PlainRun {
  let options: TrainerOptions
  let data: any Dataset
  let network: any Network
  /// The model, at first as a run begins with it.
  let weights: FloatBuffer
  /// Of the last samples.
  let gradient: FloatBuffer
  private let order: SampleOrder

  init(_ options: TrainerOptions) throws {
    // As a run does: products of more threads are rounded in another way.
    setProductThreads(options.threads)
    self.options = options
    data = try datasets.make(options.data)(options.seed)
    network = try models.make(options.model)(data.form)
    weights = FloatBuffer(count: network.layout.count)
    gradient = FloatBuffer(count: weights.count)
    network.initialize(weights, seed: options.seed)
    order = SampleOrder(count: data.count(.train), seed: options.seed)
  }

  var steps: Range<Int> { 0..<options.steps! }

  /// The samples of a step, in their order.
  func samples(of step: Int) -> [Int32] {
    let perEpoch = (data.count(.train) + options.minibatch - 1) / options.minibatch
    return Array(order.epoch(step / perEpoch).dropFirst(step % perEpoch * options.minibatch).prefix(options.minibatch))
  }

  /// Half a cosine, from the full rate to zero.
  func rate(of step: Int) -> Float {
    Float(options.learningRate * (1 + cos(Double.pi * Double(step) / Double(options.steps!))) / 2)
  }

  /// Computes (1/count)·Σ of the gradients of `samples` at `weights`.
  func computeGradient(of samples: some Collection<Int32>, among count: Int) throws {
    let batch = Minibatch(capacity: samples.count, featureCount: data.featureCount)
    data.load(Array(samples), of: .train, into: batch)
    _ = try network.gradient(of: batch, parameters: weights, scale: 1 / Float(count), into: gradient) { _ in }
  }

  /// Shortens `values` to the norm `limit` where they are longer.
  static func clip(_ values: FloatBuffer, to limit: Double) {
    let norm = values.values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    for i in 0..<values.count where norm > limit { values[i] *= Float(limit / norm) }
  }

  /// The mean loss of the test samples.
  func testLoss() throws -> Double {
    let test = Minibatch(capacity: data.count(.test), featureCount: data.featureCount)
    data.load(0..<data.count(.test), of: .test, into: test)
    let loss = try network.gradient(of: test, parameters: weights, scale: 1, into: gradient) { _ in }.lossSum
    return loss / Double(data.count(.test))
  }
}

/// Trains, and gives the model that came out, on every rank; collective.
func trainedModel(_ options: TrainerOptions, on group: Communicator = world) throws -> (hash: UInt64, values: FloatBuffer) {
  let directory = try TemporaryDirectory(on: group)
  var options = options
  options.output = directory.path + "/model.safetensors"
  let outcome = try TrainingRun(options, on: group, isSilent: true).run()
  let reader = try SafetensorsReader(options.output!)
  let values = FloatBuffer(count: reader.entries.reduce(0) { $0 + $1.shape.reduce(1, *) })
  var start = 0
  for entry in reader.entries {
    let count = entry.shape.reduce(1, *)
    try reader.read(entry, into: values.values(in: start..<start + count))
    start += count
  }
  // The directory goes with rank 0's object.
  try group.barrier()
  return (outcome.modelHash, values)
}

/// The largest distance between values at the same place of two models of one size, and the place; infinite if they differ in size, NaN
/// if a value is.
///
/// For many values this is a hundred times quicker than an expectation of each.
func farthest<Found: BinaryFloatingPoint, Expected: BinaryFloatingPoint>(
  _ found: some Collection<Found>, _ expected: some Collection<Expected>
) -> (distance: Double, place: Int) {
  guard found.count == expected.count else { return (.infinity, min(found.count, expected.count)) }
  var (largest, place) = (0.0, 0)
  for (index, (one, other)) in zip(found, expected).enumerated() {
    let distance = abs(Double(one) - Double(other))
    if !(distance <= largest) && !largest.isNaN { (largest, place) = (distance, index) }
  }
  return (largest, place)
}

func farthest(_ found: FloatBuffer, _ expected: FloatBuffer) -> (distance: Double, place: Int) {
  withExtendedLifetime(expected) { farthest(found, expected.values) }
}

func farthest<Expected: BinaryFloatingPoint>(
  _ found: FloatBuffer, _ expected: some Collection<Expected>
) -> (distance: Double, place: Int) {
  withExtendedLifetime(found) { farthest(found.values, expected) }
}
