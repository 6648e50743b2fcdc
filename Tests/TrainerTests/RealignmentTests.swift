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

/// New labels between epochs, on as many ranks as the tests have.
@Suite(.serialized) struct RealignmentTests {
  private func options(
    _ data: SpokenTones, checkpoint: String? = nil, _ change: (inout TrainerOptions) -> Void = { _ in }
  ) -> TrainerOptions {
    var options = TrainerOptions()
    options.model = "mlp:16"
    options.data = data.specification
    options.minibatch = 64
    options.epochs = 3
    options.learningRate = 0.02
    options.warmStart = 0
    options.verifyEvery = 1
    options.realign = .every(1)
    options.checkpoint = checkpoint
    change(&options)
    return options
  }

  private func train(_ options: TrainerOptions, on group: Communicator = world) throws -> TrainingOutcome {
    try TrainingRun(options, on: group, isSilent: true).run()
  }

  private func folder(_ checkpoint: String, step: Int) -> String {
    "\(checkpoint)/step-\(String(repeating: "0", count: 8 - "\(step)".count))\(step)"
  }

  /// The values of a tensor in a checkpoint.
  private func tensor(_ name: String, _ checkpoint: String, step: Int, rank: Int = 0, file: String? = nil) throws -> [Float] {
    let reader = try SafetensorsReader(folder(checkpoint, step: step) + "/" + (file ?? "state-0000\(rank).safetensors"))
    guard let entry = reader.entry(name) else { throw CocoaError(.fileNoSuchFile) }
    let values = FloatBuffer(count: entry.count)
    try reader.read(entry, into: values.values)
    return Array(values.values)
  }

  /// The parameters in a checkpoint, in the layout of the network.
  private func model(_ checkpoint: String, step: Int, _ network: any Network) throws -> FloatBuffer {
    let parameters = FloatBuffer(count: network.layout.count)
    for part in network.layout.tensors {
      let values = try tensor(part.name, checkpoint, step: step, file: "model.safetensors")
      for (place, value) in zip(part.range, values) { parameters[place] = value }
    }
    return parameters
  }

  /// Labels by a plain Viterbi from the left, in a few lines that share nothing with the trainer but network and data.
  private func plainLabels(_ data: SpeechDataset, _ network: any Network, _ parameters: FloatBuffer, _ split: Split, old: [Int])
    throws -> [Int]
  {
    var counts = Array(repeating: 0.0, count: data.classCount)
    for label in old { counts[label] += 1 }
    var labels: [Int] = []
    for range in data.frames(ofUtterances: split) {
      let batch = Minibatch(capacity: range.count, featureCount: data.featureCount)
      let rows = FloatBuffer(count: range.count * data.classCount)
      data.load(range, of: split, into: batch)
      _ = try network.evaluate(batch, parameters: parameters, logPosteriors: rows)
      let own = range.map { data.label($0, of: split) }
      guard range.count >= 3 else {
        labels += own
        continue
      }
      let first = own[0] / 3 * 3
      func score(_ frame: Int, _ state: Int) -> Double {
        Double(rows[frame * data.classCount + first + state]) - log(max(1, counts[first + state]) / Double(old.count))
      }
      // Of each state the best sum and its way, frame by frame.
      var ways: [(sum: Double, labels: [Int])?] = [(score(0, 0), [first]), nil, nil]
      for frame in 1..<range.count {
        ways = (0..<3).map { state in
          let before = [ways[state], state > 0 ? ways[state - 1] : nil].compactMap { $0 }.max { $0.sum < $1.sum }
          return before.map { ($0.sum + score(frame, state), $0.labels + [first + state]) }
        }
      }
      labels += ways[2]!.labels
    }
    return labels
  }

  /// However the utterances are shared, each is compared with its own digit.
  @Test(.ranks(atLeast: 2)) func digitsAreRecognisedAlikeOnAnyNumberOfRanks() throws {
    let directory = try TemporaryDirectory(on: world)
    let options = options(try SpokenTones(in: directory))
    let (run, trainer) = (try PlainRun(options), try TrainingRun(options, on: world, isSilent: true))
    _ = try trainer.run()
    func judge(on group: Communicator) throws -> Evaluation {
      let grid = try RankGrid(HostMap(group))
      let evaluator = Evaluator(run.data, network: run.network, on: grid, over: try RecordExchange(grid.all))
      return try evaluator.evaluate(trainer.parameters)
    }
    let (together, alone) = (try judge(on: world), try judge(on: world.alone))
    // Some are recognised, so that it matters which digit each is compared with.
    #expect(together.digitAccuracy == alone.digitAccuracy && together.digitAccuracy ?? 0 > 0.5)
    #expect(together.accuracy == alone.accuracy)
    try world.barrier()
  }

  @Test func labelsAreThoseOfAPlainViterbiAndResidualsAndMomentumStartAfresh() throws {
    let directory = try TemporaryDirectory(on: world)
    let checkpoint = directory.path + "/run"
    var options = options(try SpokenTones(in: directory), checkpoint: checkpoint)
    options.realign = .after([1])
    options.schedule = "constant"
    let data = try #require(try datasets.make(options.data)(1) as? SpeechDataset)
    let perEpoch = (data.count(.train) + 63) / 64
    options.steps = perEpoch + 1
    options.metrics = directory.path + "/metrics.jsonl"
    let outcome = try train(options)
    // Rank 0 writes the metrics.
    try world.barrier()
    #expect(outcome.evaluation?.digitAccuracy != nil && outcome.evaluation?.alignedAccuracy != nil)

    // The last step comes after the realignment, and the checkpoint before it is the one that the realignment asks for.
    let network = try models.make(options.model)(data.featureCount, data.classCount)
    let before = try model(checkpoint, step: perEpoch, network)
    let first = (0..<data.count(.train)).map { data.label($0, of: .train) }
    let labels = try tensor("labels.train", checkpoint, step: perEpoch + 1).map { Int($0) }
    #expect(try labels == plainLabels(data, network, before, .train, old: first))
    #expect(labels != first)
    let testLabels = try tensor("labels.test", checkpoint, step: perEpoch + 1).map { Int($0) }
    #expect(try testLabels == plainLabels(data, network, before, .test, old: first))

    // Momentum after the step is its aggregate alone; with what stayed behind, that is the gradient of the new labels.
    let after = try model(checkpoint, step: perEpoch + 1, network)
    let momentum = try tensor("momentum", checkpoint, step: perEpoch + 1)
    var total = momentum.map { Double($0) }
    if world.count > 1 {
      let residuals = try (0..<world.count).map { try tensor("residual", checkpoint, step: perEpoch + 1, rank: $0) }
      let owners = try (0..<world.count).flatMap { try tensor("ownerResidual", checkpoint, step: perEpoch + 1, rank: $0) }
      for i in total.indices { total[i] += residuals.reduce(Double(owners[i])) { $0 + Double($1[i]) } }
    }
    let order = SampleOrder(count: data.count(.train), seed: options.seed).epoch(1).prefix(64)
    let batch = Minibatch(capacity: 64, featureCount: data.featureCount)
    data.load(order, of: .train, into: batch)
    for (row, sample) in order.enumerated() { batch.labels[row] = Int32(labels[Int(sample)]) }
    let gradient = FloatBuffer(count: total.count)
    _ = try network.gradient(of: batch, parameters: before, scale: 1 / 64, into: gradient) { _ in }
    #expect(farthest(gradient, total).distance < 1e-5)
    #expect(farthest(after, total.indices.map { before[$0] - 0.02 * momentum[$0] }).distance < 1e-6)

    let lines = try String(contentsOfFile: options.metrics!, encoding: .utf8).split(separator: "\n")
    let event = try #require(lines.first { $0.contains(#""event":"realignment""#) })
    #expect(event.contains(#""epoch":1,"step":\#(perEpoch),"#) && event.contains(#""keptUtterances":1,"#), "\(event)")
    #expect(lines.contains { $0.contains(#""event":"end""#) && $0.contains(#""testAlignedAccuracy":"#) })
    try world.barrier()
  }

  /// From the checkpoint just before the second realignment, and from one after it.
  @Test(arguments: [0, 2]) func anUnbrokenRunEqualsOneThatWasResumed(stepsAfterIt: Int) throws {
    let directory = try TemporaryDirectory(on: world)
    let data = try SpokenTones(in: directory)
    let expected = try train(options(data))
    let step = expected.steps / 3 * 2 + stepsAfterIt
    var broken = options(data, checkpoint: directory.path + "/broken") { $0.checkpointEvery = step }
    #expect(try train(broken) == expected)
    try directory.change { try FileManager.default.removeItem(atPath: folder(broken.checkpoint!, step: expected.steps)) }
    broken.resume = true
    #expect(FileManager.default.fileExists(atPath: folder(broken.checkpoint!, step: step)))
    try world.barrier()
    #expect(try train(broken) == expected)
    try world.barrier()
  }

  /// Losses of the labels before and after are not compared, and no state comes back from before.
  @Test func aRateThatFollowsTheLossBeginsAnewWithNewLabels() throws {
    let directory = try TemporaryDirectory(on: world)
    let data = try SpokenTones(in: directory)
    let checkpoint = directory.path + "/checkpoints"
    let tuned = options(data, checkpoint: checkpoint) {
      $0.realign = .after([2])
      $0.epochs = 5
      $0.tuneRate = "after-epoch:improve=100"
      $0.metrics = directory.path + "/metrics.jsonl"
    }
    let outcome = try train(tuned)
    try world.barrier()
    let lines = try String(contentsOfFile: tuned.metrics!, encoding: .utf8).split(separator: "\n")
    // After epochs 1, 3 and 4; the first and the third have nothing to be compared with.
    let decisions = lines.filter { $0.contains(#""event":"tuning""#) }
    #expect(
      decisions.count == 3 && decisions.map { $0.contains(#""previousLoss":null"#) } == [true, true, false], "\(decisions)")
    // What would come back is the state with nothing left over.
    let step = outcome.steps / 5 * 2
    var resumed = tuned
    resumed.checkpoint = directory.path + "/resumed"
    resumed.metrics = nil
    resumed.steps = step + 1
    _ = try train(resumed)
    #expect(try tensor("momentum.best", resumed.checkpoint!, step: step + 1).allSatisfy { $0 == 0 })
    #expect(try tensor("momentum.best", resumed.checkpoint!, step: step).contains { $0 != 0 })
    (resumed.steps, resumed.resume) = (nil, true)
    #expect(try train(resumed).steps == outcome.steps)
    try world.barrier()
  }

  @Test(.ranks(atLeast: 2)) func anotherNumberOfRanksGivesTheSameLabels() throws {
    let directory = try TemporaryDirectory(on: world)
    let all = options(try SpokenTones(in: directory), checkpoint: directory.path + "/all") { $0.codec = "none" }
    let steps = try train(all).steps
    // What stays is the checkpoint before the second realignment.
    try directory.change { try FileManager.default.removeItem(atPath: folder(all.checkpoint!, step: steps)) }
    let first = try tensor("labels.train", all.checkpoint!, step: steps / 3 * 2)
    var labels: [[Float]] = []
    for ranks in Set([1, 2, world.count]).sorted() {
      var few = all
      few.checkpoint = directory.path + "/\(ranks)"
      few.resume = true
      few.steps = steps / 3 * 2 + 1
      try directory.change { try FileManager.default.copyItem(atPath: all.checkpoint!, toPath: few.checkpoint!) }
      if let group = try world.split(color: world.rank < ranks ? 0 : nil) { _ = try train(few, on: group) }
      try world.barrier()
      labels.append(try tensor("labels.train", few.checkpoint!, step: few.steps!))
      // From there with all ranks: the labels come from the file.
      few.steps! += 1
      _ = try train(few)
      #expect(try tensor("labels.train", few.checkpoint!, step: few.steps!) == labels.last)
      try world.barrier()
    }
    #expect(labels.allSatisfy { $0 == labels[0] } && labels[0] != first)
  }

  @Test func onlyAlignmentsCanBeImproved() throws {
    var options = TrainerOptions()
    options.data = "glyphs:train=300,test=40"
    options.realign = .after([1])
    #expect {
      try train(options)
    } throws: { error in
      "\(error)".contains("--realign: the labels of glyphs:train=300,test=40 do not come from an alignment")
        && (error as? TrainingError)?.exitStatus == 65
    }
  }

  @Test func withoutARealignmentBeforeTheEndNothingChanges() throws {
    let directory = try TemporaryDirectory(on: world)
    let data = try SpokenTones(in: directory)
    let outcome = try train(options(data) { $0.realign = .after([3]) })
    #expect(try train(options(data) { $0.realign = nil }) == outcome)
    #expect(try train(options(data) { $0.realign = .after([2]) }).modelHash != outcome.modelHash)
    try world.barrier()
  }

  @Test func epochsAreReadAsPeopleWriteThem() throws {
    var options = TrainerOptions()
    for text in ["2", "1,3", "every:2"] {
      try options.set("realign", to: text)
      #expect(options.texts["realign"] == text)
    }
    #expect(options.realign == .every(2))
    #expect((0...6).filter { options.realign!.contains($0) } == [2, 4, 6])
    for text in ["0", "3,1", "1,1", "every:0", "every:", "1,", "", "second", "-1"] {
      #expect(throws: OptionError.self) { try options.set("realign", to: text) }
    }
  }
}
