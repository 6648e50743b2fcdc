import Buffers
import Checkpoints
import Collectives
import Datasets
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Runs on a grid of K models in P slices each.
@Suite(.serialized) struct ModelParallelTests {
  /// K models in P slices.
  struct Grid: CustomTestStringConvertible, Sendable {
    let models: Int
    let slices: Int
    var testDescription: String { "\(models)×\(slices)" }

    init(_ models: Int, _ slices: Int) { (self.models, self.slices) = (models, slices) }

    /// What there are ranks enough for, save what is tested with half as many.
    static let possible = [Grid(1, 2), Grid(1, 3), Grid(2, 2), Grid(1, 4), Grid(4, 2), Grid(2, 4)]
      .filter { $0.models * $0.slices <= World.count && $0.models * $0.slices > World.count / 2 }
  }

  private func options(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    var options = TrainerOptions()
    options.model = "mlp:13,11"
    options.data = "glyphs:train=330,test=70"
    options.minibatch = 50
    options.steps = 15
    options.warmStart = 0
    options.codec = "none"
    options.verifyEvery = 1
    options.logEvery = 7
    options.quiet = true
    change(&options)
    return options
  }

  /// Trains on the first `ranks` ranks; nil on the others.
  private func train(_ options: TrainerOptions, ranks: Int) throws -> TrainingOutcome? {
    guard let group = try world.split(color: world.rank < ranks ? .some(0) : nil) else { return nil }
    return try TrainingRun(options, on: group, isSilent: true).run()
  }

  /// The model in a file.
  private func model(_ path: String, _ options: TrainerOptions) throws -> FloatBuffer {
    let data = try datasets.make(options.data)(options.seed)
    let layout = try models.make(options.model)(data.featureCount, data.classCount).layout
    let reader = try SafetensorsReader(path)
    let model = FloatBuffer(count: layout.count)
    for (tensor, entry) in zip(layout.tensors, reader.entries) {
      #expect(entry.name == tensor.name && entry.shape == tensor.shape)
      try reader.read(entry, into: model.values(in: tensor.range))
    }
    return model
  }

  /// The whole model of a run on a grid is that of whole models on as many ranks as there are models, but for the order of sums.
  @Test(.ranks(atLeast: 2), arguments: Grid.possible, ["mlp:13,11", "mlp:3,2,activation=sigmoid", "softmax"])
  func slicesTrainAsWholeModelsDo(_ grid: Grid, _ name: String) throws {
    let directory = try TemporaryDirectory(on: world)
    let whole = options {
      $0.model = name
      $0.output = directory.path + "/whole.safetensors"
      $0.clip = 0.5
    }
    let expected = try train(whole, ranks: grid.models)
    var sliced = whole
    sliced.modelParallel = grid.slices
    sliced.output = directory.path + "/sliced.safetensors"
    let found = try train(sliced, ranks: grid.models * grid.slices)
    sliced.transport = .messages
    sliced.output = directory.path + "/messages.safetensors"
    let byMessages = try train(sliced, ranks: grid.models * grid.slices)
    #expect(byMessages?.modelHash == found?.modelHash && byMessages?.evaluation == found?.evaluation)
    try world.barrier()
    if let expected, let found {
      #expect(abs(found.evaluation!.loss - expected.evaluation!.loss) < 1e-5)
      let (one, other) = (try model(whole.output!, whole), try model(directory.path + "/sliced.safetensors", whole))
      #expect(other.hash() == found.modelHash)
      #expect(farthest(one, other).distance <= 1e-5)
    }
    try world.barrier()
  }

  /// Groups are rows, and rows are not split: the codes are those of whole models, but where a sum's order turns a bit.
  @Test(.ranks(atLeast: 4), arguments: Grid.possible.filter { $0.models > 1 })
  func codesAreThoseOfWholeModels(_ grid: Grid) throws {
    let whole = options {
      $0.codec = "one-bit"
      $0.learningRate = 0.02
      $0.warmStart = 3
    }
    let expected = try train(whole, ranks: grid.models)
    var sliced = whole
    sliced.modelParallel = grid.slices
    let found = try train(sliced, ranks: grid.models * grid.slices)
    #expect(try train(sliced, ranks: grid.models * grid.slices)?.modelHash == found?.modelHash)
    if let expected, let found {
      #expect(abs(found.evaluation!.loss - expected.evaluation!.loss) < 0.01)
    }
    try world.barrier()
  }

  /// The mean multiplier of AdaGrad is that of a whole tensor, though no rank has one.
  @Test(.ranks(atLeast: 2), arguments: Grid.possible)
  func adaGradByOwnersKnowsWholeTensors(_ grid: Grid) throws {
    try expectSlicesTrainWhatWholeModelsDo(grid) { ($0.optimizer, $0.learningRate) = ("adagrad:epsilon=1e-6", 0.1) }
  }

  /// Adam goes by single values, and a slice of a matrix decays as the matrix does.
  @Test(.ranks(atLeast: 2), arguments: Grid.possible) func adamGoesByValues(_ grid: Grid) throws {
    try expectSlicesTrainWhatWholeModelsDo(grid) {
      ($0.optimizer, $0.codec, $0.learningRate, $0.weightDecay) = ("adamw:epsilon=1e-3", "none", 0.01, 0.1)
    }
  }

  /// Compares the model of a sliced run with that of a run without slices.
  private func expectSlicesTrainWhatWholeModelsDo(_ grid: Grid, _ change: (inout TrainerOptions) -> Void) throws {
    let directory = try TemporaryDirectory(on: world)
    let whole = options {
      change(&$0)
      $0.output = directory.path + "/whole.safetensors"
    }
    let expected = try train(whole, ranks: grid.models)
    var sliced = whole
    sliced.modelParallel = grid.slices
    sliced.output = directory.path + "/sliced.safetensors"
    let found = try train(sliced, ranks: grid.models * grid.slices)
    try world.barrier()
    if expected != nil, found != nil {
      let (one, other) = (try model(whole.output!, whole), try model(sliced.output!, whole))
      #expect(farthest(one, other).distance <= 1e-4)
    }
    try world.barrier()
  }

  @Test func otherPlacesOfAdaGradAreRefused() {
    for place in ["partial", "momentum"] {
      #expect(throws: OptionError.self) {
        try Recipe(options { ($0.optimizer, $0.modelParallel) = ("adagrad:place=\(place)", 2) })
      }
    }
  }

  @Test(.ranks(atLeast: 2), arguments: Grid.possible) func anUnbrokenRunEqualsOneThatWasResumed(_ grid: Grid) throws {
    let directory = try TemporaryDirectory(on: world)
    let ranks = grid.models * grid.slices
    let whole = options {
      $0.codec = "one-bit"
      $0.learningRate = 0.02
      $0.warmStart = 3
      $0.modelParallel = grid.slices
      $0.checkpoint = directory.path + "/whole"
    }
    let expected = try train(whole, ranks: ranks)
    var broken = whole
    broken.checkpoint = directory.path + "/broken"
    broken.checkpointEvery = 8
    _ = try train(broken, ranks: ranks)
    func breakOff(after name: String) throws {
      try directory.change {
        let path = directory.path + "/broken"
        for found in try FileManager.default.contentsOfDirectory(atPath: path) where found > name {
          try FileManager.default.removeItem(atPath: "\(path)/\(found)")
        }
      }
    }
    try breakOff(after: "step-00000008")
    broken.resume = true
    let resumed = try train(broken, ranks: ranks)
    #expect(resumed?.modelHash == expected?.modelHash && resumed?.evaluation == expected?.evaluation)

    // The file holds the whole model, for whoever judges it.
    try world.barrier()
    let saved = try SavedModel(directory.path + "/broken", on: world)
    let evaluation = try saved.evaluate()
    if let expected {
      #expect(abs(evaluation.loss - expected.evaluation!.loss) < 1e-5)
      #expect(saved.sentence(for: evaluation).hasSuffix(String(format: "%016lx", expected.modelHash)))
    }

    // As many slices on another number of ranks go on; another number of slices does not.
    try breakOff(after: "step-00000008")
    if grid.models > 1 {
      let fewer = try train(broken, ranks: ranks - grid.slices)
      if let fewer { #expect(fewer.steps == 15 && abs(fewer.evaluation!.loss - expected!.evaluation!.loss) < 0.05) }
    }
    var other = broken
    other.modelParallel = 1
    var refusal = ""
    do { _ = try train(other, ranks: ranks) } catch { refusal = "\(error)" }
    if world.rank < ranks { #expect(refusal.contains("--model-parallel was \(grid.slices) and is now 1")) }
    try world.barrier()
  }

  @Test(.ranks(atLeast: 2), arguments: Grid.possible) func aRankWithABadGradientIsNamed(_ grid: Grid) throws {
    let ranks = grid.models * grid.slices
    let options = options {
      $0.modelParallel = grid.slices
      $0.nonFinite = .abort
      $0.injectNonFinite = "3:\(ranks - 1)"
    }
    var fault = ""
    do { _ = try train(options, ranks: ranks) } catch { fault = "\(error)" }
    if world.rank < ranks {
      #expect(
        fault.contains("step 4") && fault.contains("layers.3.weight") && fault.contains("rank \(ranks - 1) on "), "\(fault)")
    }
    // Skipped, the step teaches nothing on any slice.
    let skipping = self.options {
      $0.modelParallel = grid.slices
      $0.steps = 1
      $0.injectNonFinite = "0:\(ranks - 1)"
    }
    let data = try datasets.make(skipping.data)(skipping.seed)
    let network = try models.make(skipping.model)(data.featureCount, data.classCount)
    let start = FloatBuffer(count: network.layout.count)
    network.initialize(start, seed: skipping.seed)
    if let found = try train(skipping, ranks: ranks) { #expect(found.modelHash == start.hash()) }
    try world.barrier()
  }

  @Test(.ranks(atLeast: 2)) func ranksMustFillTheGrid() throws {
    let options = options { $0.modelParallel = World.count + 1 }
    #expect {
      _ = try train(options, ranks: World.count)
    } throws: {
      "\($0)".contains("--model-parallel \(World.count + 1) needs a number of ranks that is a multiple of \(World.count + 1)")
    }
  }

  /// One sample for each model is enough, however many ranks there are.
  @Test(.ranks(atLeast: 2)) func aMinibatchNeedsASampleForEachModel() throws {
    let options = options {
      $0.modelParallel = World.count
      $0.minibatch = 1
      $0.steps = 3
    }
    #expect(try train(options, ranks: World.count)?.steps == 3)
  }
}
