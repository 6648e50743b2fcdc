import Buffers
import Checkpoints
import Datasets
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// `fetch-sgd` with a window: tables of errors are forgotten in turn, exchange by exchange.
@Suite(.serialized) struct SlidingWindowTests {
  private static func windowed(_ window: Int, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      // A sketch that would be no smaller than its values is the values: what is recovered is exact.
      $0.strategy = "fetch-sgd:k=1/50,rows=1,columns=1/1,shards=1,mask=false,recovery=subtract,window=\(window)"
      ($0.warmStart, $0.learningRate, $0.schedule, $0.steps) = (nil, 0.02, "constant", 12)
      change(&$0)
    }
  }

  /// The same in a few plain lines and fp64: every exchange adds to all tables, recovers from the one whose turn it is, takes what it
  /// recovered from all, and clears that one.
  private func descent(_ options: TrainerOptions, window: Int, without skipped: ClosedRange<Int>) throws -> [Float] {
    let data = try datasets.make(options.data)(options.seed)
    let network = try models.make(options.model)(data.featureCount, data.classCount)
    let weights = FloatBuffer(count: network.layout.count)
    network.initialize(weights, seed: options.seed)
    let count = weights.count
    var momentum = [Double](repeating: 0, count: count)
    var tables = [[Double]](repeating: momentum, count: window)
    let order = SampleOrder(count: data.count(.train), seed: options.seed)
    let perEpoch = (data.count(.train) + options.minibatch - 1) / options.minibatch
    let (batch, gradient) = (
      Minibatch(capacity: options.minibatch, featureCount: data.featureCount), FloatBuffer(count: count)
    )
    var exchanges = 0
    for step in 0..<options.steps! where !skipped.contains(step) {
      let samples = order.epoch(step / perEpoch).dropFirst(step % perEpoch * options.minibatch).prefix(options.minibatch)
      data.load(samples, of: .train, into: batch)
      _ = try network.gradient(of: batch, parameters: weights, scale: 1 / Float(samples.count), into: gradient) { _ in }
      for i in 0..<count {
        momentum[i] = options.momentum * momentum[i] + Double(gradient[i])
        for table in tables.indices { tables[table][i] += Double(Float(options.learningRate)) * momentum[i] }
      }
      let turn = exchanges % window
      let values = tables[turn].map { Float($0) }
      for i in values.indices.sorted(by: { abs(values[$0]) > abs(values[$1]) }).prefix((count + 49) / 50) {
        weights[i] -= values[i]
        for table in tables.indices { tables[table][i] -= Double(values[i]) }
      }
      tables[turn] = [Double](repeating: 0, count: count)
      exchanges += 1
    }
    return Array(weights.values)
  }

  private func model(of options: TrainerOptions) throws -> [Float] {
    let directory = try TemporaryDirectory(on: world)
    var options = options
    options.output = directory.path + "/model.safetensors"
    _ = try train(options)
    try world.barrier()
    let reader = try SafetensorsReader(options.output!)
    var values: [Float] = []
    for entry in reader.entries {
      let buffer = FloatBuffer(count: entry.count)
      try reader.read(entry, into: buffer.values)
      values += Array(buffer.values)
    }
    // The directory goes with rank 0's object.
    try world.barrier()
    return values
  }

  private func distance(_ a: [Float], _ b: [Float]) -> Double {
    zip(a, b).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }.squareRoot()
  }

  @Test(.enabled(if: World.count == 1, "one rank is plain lines"), arguments: [1, 2, 3], [5...5, 3...6, 100...100])
  func aSkippedStepTakesNoTurn(_ window: Int, _ skipped: ClosedRange<Int>) throws {
    let options = Self.windowed(window) { $0.injectNonFinite = "\(skipped.lowerBound)-\(skipped.upperBound):0" }
    let expected = try descent(options, window: window, without: skipped)
    let found = try model(of: options)
    // The tables matter: with another number of them the model is another.
    let other = try descent(options, window: window + 1, without: skipped)
    #expect(distance(found, expected) < 1e-3 * distance(other, expected), "\(distance(found, expected))")
  }

  /// After every exchange the table whose turn it was is empty, also where the run was resumed.
  @Test(arguments: [2, 3]) func theTurnIsState(_ window: Int) throws {
    let directory = try TemporaryDirectory(on: world)
    func run(_ name: String, _ change: (inout TrainerOptions) -> Void) throws -> UInt64 {
      try train(
        Self.windowed(window) {
          $0.strategy = "fetch-sgd:k=1/50,columns=1/6,shards=3,recovery=subtract,window=\(window)"
          ($0.checkpoint, $0.injectNonFinite) = ("\(directory.path)/\(name)", "4:0")
          change(&$0)
        }
      ).modelHash
    }
    let whole = try run("whole") { _ in }
    // Before the step that is skipped, right after it, and later.
    for steps in [3, 5, 8] {
      _ = try run("part-\(steps)") { $0.steps = steps }
      #expect(try run("part-\(steps)") { $0.resume = true } == whole, "resumed after \(steps) steps")
    }
    try world.barrier()
  }
}
