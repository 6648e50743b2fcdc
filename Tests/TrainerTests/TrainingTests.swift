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

/// Whole runs of a small model, on as many ranks as the tests have.
@Suite(.serialized) struct TrainingTests {
  /// Descent in a few plain lines that share nothing with the trainer but network and data.
  private func plainDescent(_ options: TrainerOptions) throws -> FloatBuffer {
    let run = try PlainRun(options)
    let weights = run.weights
    var momenta = [Float](repeating: 0, count: weights.count)
    for step in run.steps {
      let samples = run.samples(of: step)
      try run.computeGradient(of: samples, among: samples.count)
      if let clip = options.clip { PlainRun.clip(run.gradient, to: clip) }
      let rate = run.rate(of: step)
      for i in 0..<weights.count {
        let x = options.weightDecay == 0 ? run.gradient[i] : run.gradient[i] + Float(options.weightDecay) * weights[i]
        momenta[i] = Float(options.momentum) * momenta[i] + x
        weights[i] = weights[i] - rate * momenta[i]
      }
    }
    return weights
  }

  @Test(.enabled(if: World.count == 1, "one rank alone is plain descent"), arguments: [0.0, 0.01], ["one-bit", "none"])
  func oneRankIsPlainDescentBitForBit(decay: Double, codec: String) throws {
    let options = options {
      $0.weightDecay = decay
      $0.codec = codec
    }
    #expect(try train(options).modelHash == plainDescent(options).hash())
  }

  @Test(arguments: ["one-bit", "one-bit:group=64", "multi-bit:bits=4", "none"])
  func runsRepeatToTheBitAndRanksAgreeAtEveryStep(codec: String) throws {
    let options = options {
      $0.codec = codec
      $0.warmStart = 5
    }
    let first = try train(options)
    #expect(try train(options).modelHash == first.modelHash)
    var messages = options
    messages.transport = .messages
    #expect(try train(messages).modelHash == first.modelHash)
    let hashes = try world.allGather([first.modelHash])
    #expect(Set(hashes).count == 1)
  }

  @Test func trainingLearns() throws {
    let options = options {
      $0.steps = 200
      $0.warmStart = 50
      $0.learningRate = 0.02
    }
    let evaluation = try #require(try train(options).evaluation)
    // One in ten by chance.
    #expect(evaluation.accuracy > 0.4 && evaluation.loss < 2, "\(evaluation)")
  }

  @Test func aLooseClipChangesNothingAndATightOneDoes() throws {
    let options = options { $0.codec = "none" }
    var (loose, tight) = (options, options)
    loose.clip = 1e30
    tight.clip = 0.01
    let hash = try train(options).modelHash
    #expect(try train(loose).modelHash == hash)
    #expect(try train(tight).modelHash != hash)
  }

  @Test func clippingShortensTheMeanGradient() throws {
    let options = options {
      $0.codec = "none"
      $0.clip = 0.3
    }
    let expected = try plainDescent(options)
    let model = try trainedModel(options).values
    // The norm, and sums over ranks, are rounded in another order.
    #expect(farthest(model, expected).distance < 1e-4)
  }

  @Test func aSkippedStepChangesNothingOnAnyRank() throws {
    // With all steps skipped, the model is the start.
    let one = options {
      $0.steps = 1
      $0.injectNonFinite = "0:\(World.count - 1)"
    }
    let data = try datasets.make(one.data)(one.seed)
    let network = try models.make(one.model)(data.featureCount, data.classCount)
    let start = FloatBuffer(count: network.layout.count)
    network.initialize(start, seed: one.seed)
    #expect(try train(one).modelHash == start.hash())
  }

  @Test func theAbortPolicyNamesStepTensorAndRank() throws {
    let options = options {
      $0.nonFinite = .abort
      $0.injectNonFinite = "3:\(World.count - 1)"
    }
    #expect {
      try train(options)
    } throws: { error in
      let text = "\(error)"
      return text.contains("step 4") && text.contains("layers.3.weight") && (error as? TrainingError)?.exitStatus == 65
        && (World.count == 1 || text.contains("rank \(World.count - 1)"))
    }
  }

  @Test func theZeroPolicyGoesOn() throws {
    let options = options {
      $0.nonFinite = .zero
      $0.injectNonFinite = "3:0"
    }
    #expect(try train(options).evaluation?.loss.isFinite == true)
  }

  @Test func aRateThatIsTooHighEndsTheRunWithAdvice() throws {
    for codec in ["none", "one-bit"] {
      let options = options {
        $0.learningRate = 1e30
        $0.codec = codec
      }
      #expect { try train(options) } throws: {
        "\($0)".contains("10 steps in a row") && "\($0)".contains("lower --learning-rate")
      }
    }
  }

  @Test func anUnbrokenRunEqualsOneThatWasResumed() throws {
    let directory = try TemporaryDirectory(on: world)
    let whole = options {
      $0.checkpoint = directory.path + "/whole"
      $0.warmStart = 3
    }
    let expected = try train(whole)
    // The horizon must be the same: a run that was told to stop, not a shorter one.
    var broken = whole
    broken.checkpoint = directory.path + "/broken"
    broken.checkpointEvery = 8
    broken.injectNonFinite = nil
    _ = try train(broken)
    try directory.change {
      let path = directory.path + "/broken"
      for name in try FileManager.default.contentsOfDirectory(atPath: path) where name > "step-00000016" {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
      }
    }
    broken.resume = true
    let resumed = try train(broken)
    #expect(resumed.modelHash == expected.modelHash)
    #expect(resumed.evaluation == expected.evaluation)
    // A run that has done its steps does nothing more.
    #expect(try train(broken).modelHash == expected.modelHash)
    var other = broken
    other.momentum = 0.8
    #expect { try train(other) } throws: { "\($0)".contains("momentum") }
    try world.barrier()
  }

  @Test func faultsOfOneRankAreFaultsOfAll() throws {
    let directory = try TemporaryDirectory(on: world)
    let missing = directory.path + "/missing"
    #expect(throws: OptionError.self) { _ = try Recipe(options { $0.model = "mlp" }) }
    #expect {
      try train(options { $0.output = missing + "/model.safetensors" })
    } throws: {
      ($0 as? TrainingError)?.exitStatus == 74
    }
    #expect {
      try train(options { $0.data = "idx:" + missing })
    } throws: {
      ($0 as? TrainingError)?.exitStatus == 65
    }
    #expect(throws: TrainingError.self) { try train(options { $0.minibatch = 0 }) }
    // The directory goes with rank 0's object.
    try world.barrier()
  }

  @Test func ranksMayChooseTheirCodecOnlyWhereSomebodyMeasures() throws {
    let open = options { ($0.codec, $0.warmStart) = ("auto", 5) }
    let chosen = try TrainingRun(open, on: world, isSilent: true) { _, _ in ("multi-bit:bits=4", "a test says so") }.run()
    let said = options { ($0.codec, $0.warmStart) = (world.count > 1 ? "multi-bit:bits=4" : "none", 5) }
    #expect(try chosen.modelHash == train(said).modelHash)
    guard world.count > 1 else { return }
    #expect {
      try train(open)
    } throws: {
      ($0 as? TrainingError)?.exitStatus == 65 && "\($0)".contains("--codec auto")
    }
  }

  @Test func momentumFreeDescentAndOtherOptimizersRun() throws {
    var hashes: Set<UInt64> = []
    for optimizer in ["sgd", "sgd:gain=unit", "sgd:nesterov=true", "sgd:time-constant=500"] {
      hashes.insert(try train(options { $0.optimizer = optimizer }).modelHash)
    }
    hashes.insert(try train(options { $0.momentum = 0 }).modelHash)
    #expect(hashes.count == 5)
  }

  /// A run begins with the parameters of a file; a file of another model is refused on all ranks.
  @Test func aRunBeginsWithTheModelOfAFile() throws {
    let directory = try TemporaryDirectory(on: world)
    let file = directory.path + "/model"
    let first = try train(options { ($0.output, $0.steps) = (file, 4) })
    // A rate that moves nothing.
    let later = try train(options { ($0.initialModel, $0.steps, $0.learningRate) = (file, 1, 1e-30) })
    #expect(later.modelHash == first.modelHash)
    let error = #expect(throws: (any Error).self) {
      try train(options { ($0.initialModel, $0.model, $0.steps) = (file, "mlp:24", 1) })
    }
    #expect("\(String(describing: error))".contains("is of another model"))
    try world.barrier()
  }
}
