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

/// Runs that go on in other circumstances: fewer ranks, other hosts, nothing left to do.
@Suite(.serialized) struct ResumptionTests {
  /// The values of a tensor in one of the files of a checkpoint.
  private func tensor(_ name: String, _ file: String) throws -> [Float] {
    let reader = try SafetensorsReader(file)
    guard let entry = reader.entry(name) else { throw CocoaError(.fileNoSuchFile) }
    let values = FloatBuffer(count: entry.count)
    try reader.read(entry, into: values.values(in: 0..<values.count))
    return Array(values.values)
  }

  private func model(_ checkpoint: String, _ layout: TensorLayout) throws -> [Float] {
    try layout.tensors.flatMap { try tensor($0.name, checkpoint + "/model.safetensors") }
  }

  /// What all ranks had left behind goes into the first gradient of the one rank that goes on, by plain lines on the files.
  @Test(.ranks(atLeast: 2), arguments: ["all-reduce", "double-buffer"])
  func oneRankInheritsWhatAllHadLeftBehind(_ strategy: String) throws {
    let directory = try TemporaryDirectory(on: world)
    var options = options {
      ($0.strategy, $0.schedule, $0.learningRate) = (strategy, "constant", 0.05)
      $0.checkpoint = directory.path + "/checkpoints"
    }
    #expect(try train(options, until: 4).wasStopped)
    let data = try datasets.make(options.data)(options.seed)
    let network = try models.make(options.model)(data.featureCount, data.classCount)
    let saved = options.checkpoint! + "/step-00000004"
    options.resume = true
    if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
      let trainer = try TrainingRun(options, on: alone, isSilent: true)
      trainer.lastStep = 5
      _ = try trainer.run()
    }
    try world.barrier()
    if world.rank == 0 {
      let before = try model(saved, network.layout)
      let (weights, gradient) = (FloatBuffer(count: before.count), FloatBuffer(count: before.count))
      for index in before.indices { weights[index] = before[index] }
      var momentum = try tensor("momentum", saved + "/state-00000.safetensors")
      var leftBehind = [Double](repeating: 0, count: before.count)
      for rank in 0..<world.count {
        let file = saved + "/state-0000\(rank).safetensors"
        for (index, value) in try tensor("residual", file).enumerated() { leftBehind[index] += Double(value) }
        var place = 0
        let sums = try tensor("ownerResidual", file)
        let owned = try SafetensorsReader(file).metadata["owned.ownerResidual"] ?? ""
        for piece in owned.split(separator: ",") {
          let ends = piece.split(separator: "-").map { Int($0)! }
          for index in ends[0]..<ends[1] {
            leftBehind[index] += Double(sums[place])
            place += 1
          }
        }
      }
      #expect(leftBehind.contains { abs($0) > 1e-3 })
      func update(_ direction: (Int) -> Float) {
        for index in before.indices {
          momentum[index] = Float(options.momentum) * momentum[index] + direction(index)
          weights[index] -= Float(options.learningRate) * momentum[index]
        }
      }
      let samples = SampleOrder(count: data.count(.train), seed: options.seed).epoch(0)[200..<250]
      let batch = Minibatch(capacity: 50, featureCount: data.featureCount)
      func compute(_ places: ArraySlice<Int32>) throws {
        data.load(places, of: .train, into: batch)
        _ = try network.gradient(of: batch, parameters: weights, scale: 1 / 50, into: gradient) { _ in }
      }
      if strategy == "all-reduce" {
        try compute(samples)
        update { gradient[$0] + Float(leftBehind[$0]) }
      } else {
        // What had arrived is applied when the first half has been computed; the second half waits in the checkpoint.
        let arrived = try tensor("arrivedGradient", saved + "/state-00000.safetensors")
        try compute(samples.prefix(25))
        update { arrived[$0] }
        let first = gradient.values.map { $0 }
        try compute(samples.suffix(25))
        update { first[$0] + Float(leftBehind[$0]) }
      }
      let found = try model(options.checkpoint! + "/step-00000005", network.layout)
      let farthest = found.indices.map { abs(found[$0] - weights[$0]) }.max()!
      #expect(farthest < 1e-5, "\(farthest)")
    }
    try world.barrier()
  }

  /// The samples of a step are those of the clients that the run began with.
  @Test(.ranks(atLeast: 2), arguments: ["by-class:5", "dirichlet:0.3"]) func clientsStayWhenRanksDoNot(_ partition: String)
    throws
  {
    let directory = try TemporaryDirectory(on: world)
    var options = options {
      ($0.partition, $0.codec, $0.schedule) = (partition, "none", "constant")
      ($0.checkpoint, $0.metrics) = (directory.path + "/checkpoints", directory.path + "/metrics.jsonl")
    }
    let whole = try #require(try train(options).evaluation)
    #expect(try metricsLines(options.metrics!)[0]["clients"] as? Int == world.count)
    for ranks in Set([1, world.count - 1]).sorted() {
      options.checkpoint = directory.path + "/\(ranks)"
      (options.resume, options.clients) = (false, nil)
      #expect(try train(options, until: 6).wasStopped)
      options.resume = true
      if let group = try world.split(color: world.rank < ranks ? 0 : nil) {
        let trainer = try TrainingRun(options, on: group, isSilent: true)
        let evaluation = try #require(try trainer.run().evaluation)
        #expect(abs(evaluation.loss - whole.loss) < 1e-4, "\(ranks) ranks: \(evaluation) for \(whole)")
      }
      try world.barrier()
      let start = try #require(try metricsLines(options.metrics!).last { $0["event"] as? String == "start" })
      #expect(
        start["clients"] as? Int == world.count && start["sampled"] as? Int == world.count && start["ranks"] as? Int == ranks)
      // Another number of them is another run.
      options.clients = world.count + 1
      #expect { try train(options) } throws: { "\($0)".contains("--clients was \(world.count) and is now \(world.count + 1)") }
      try world.barrier()
    }
  }

  /// The ranks that add up with one another are part of what gives a model; where they are is not.
  @Test(.ranks(atLeast: 4)) func anotherPlacementThatGivesAnotherModelIsSaid() throws {
    let pairs = world.rank / 2
    let turns = world.rank % 2
    func warnings(
      _ hosts: (Int, Int), _ topology: Topology, transport: Transport = .auto, strategy: String = "all-reduce"
    ) throws -> [String] {
      let run = options { ($0.topology, $0.transport, $0.strategy) = (topology, transport, strategy) }
      return try brokenOff(after: 5, run, hosts: (hosts.0, hosts.1)).lines
        .compactMap { $0["event"] as? String == "warning" ? $0["text"] as? String : nil }
    }
    for topology in [Topology.auto, .hierarchical] {
      #expect(try warnings((pairs, pairs), topology).isEmpty)
      let other = try warnings((pairs, turns), topology)
      #expect(other.count == 1 && other.allSatisfy { $0.contains("0+1 on host0") && $0.contains("0+2") }, "\(other)")
      // Its ranks never add up before they encode, and who asks for that is told.
      let notes = try warnings((pairs, turns), topology, strategy: "fetch-sgd")
      #expect(notes.isEmpty == (topology == .auto) && notes.allSatisfy { $0.contains("changes nothing") }, "\(notes)")
      #expect(try warnings((pairs, turns), topology, transport: .messages).isEmpty)
    }
    #expect(try warnings((pairs, turns), .flat).isEmpty)
    let flat = options { $0.topology = .flat }
    #expect(try trainBrokenOff(after: 5, flat, hosts: (pairs, turns)) == train(flat))
  }

  @Test func aRunThatIsDoneSaysSoAndNothingElse() throws {
    let directory = try TemporaryDirectory(on: world)
    var options = options {
      ($0.checkpoint, $0.metrics) = (directory.path + "/checkpoints", directory.path + "/metrics.jsonl")
      $0.output = directory.path + "/model.safetensors"
    }
    let outcome = try train(options)
    try world.barrier()
    let count = try metricsLines(options.metrics!).count
    options.resume = true
    try directory.change { try FileManager.default.removeItem(atPath: options.output!) }
    for steps in [20, 12] {
      options.steps = steps
      #expect(try train(options) == outcome)
      try world.barrier()
    }
    let lines = try metricsLines(options.metrics!).dropFirst(count)
    // No loss of nothing: a start and an end, twice.
    #expect(lines.map { $0["event"] as? String } == ["start", "end", "start", "end"])
    #expect(lines.allSatisfy { $0["event"] as? String == "start" || $0["testLoss"] is Double })
    #expect(FileManager.default.fileExists(atPath: options.output!))
    #expect(try directory.names(in: "checkpoints").last == "step-00000020")
    try world.barrier()
  }

  /// A typing error in --checkpoint must not cost the metrics of the run that was meant.
  @Test func metricsOfARunThatMayGoOnAreNeverEmptied() throws {
    let directory = try TemporaryDirectory(on: world)
    var options = options { ($0.checkpoint, $0.metrics) = (directory.path + "/one", directory.path + "/metrics.jsonl") }
    _ = try train(options)
    try world.barrier()
    let lines = try metricsLines(options.metrics!)
    (options.checkpoint, options.resume) = (directory.path + "/other", true)
    _ = try train(options)
    try world.barrier()
    let all = try metricsLines(options.metrics!)
    #expect(all.prefix(lines.count).map { $0 as NSDictionary } == lines.map { $0 as NSDictionary } && all.count > lines.count)
    #expect(all[lines.count]["resumedStep"] == nil)
    try world.barrier()
  }

  @Test func runsDoNotShareMetricsNorTimelines() throws {
    let directory = try TemporaryDirectory(on: world)
    let (metrics, timeline) = (directory.path + "/metrics.jsonl", directory.path + "/timeline.json")
    func refusal(_ options: TrainerOptions) throws -> String {
      let error = #expect(throws: TrainingError.self) {
        _ = try TrainingRun(options, on: world, isSilent: true, patience: 0.2)
      }
      #expect(error?.exitStatus == 65)
      return "\(error.map { "\($0)" } ?? "")"
    }
    do {
      let running = try TrainingRun(options { ($0.metrics, $0.timeline) = (metrics, timeline) }, on: world, isSilent: true)
      #expect(
        try refusal(options { $0.metrics = metrics }).hasSuffix(
          "another run is writing its metrics to \(metrics); name another file"))
      #expect(
        try refusal(options { $0.timeline = timeline })
          .hasSuffix("another run is writing its timeline to \(timeline); name another file"))
      // Nothing is lost by it.
      #expect(try running.run().steps == 20)
      try world.barrier()
      #expect(
        try metricsLines(metrics).map { $0["event"] as? String ?? "" }.filter { ["start", "end"].contains($0) } == [
          "start", "end",
        ])
      #expect(try TraceReader(timeline).spans("step", of: world.rank).count == 20)
    }
    try world.barrier()
    // What belongs to nobody may be shared.
    let nowhere = options { ($0.metrics, $0.timeline) = ("/dev/null", "/dev/null") }
    let running = try TrainingRun(nowhere, on: world, isSilent: true)
    #expect(try train(nowhere).modelHash == running.run().modelHash)
  }
}
