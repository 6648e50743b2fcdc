import Buffers
import Checkpoints
import Collectives
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// What runs of local steps save at their meetings, and how they go on.
@Suite(.serialized, .ranks(atMost: 4)) struct LocalStepsStateTests {
  private func settings(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.codec, $0.momentum, $0.learningRate) = (strategy, "none", 0.5, 0.1)
      ($0.schedule, $0.warmStart) = ("constant", nil)
      change(&$0)
    }
  }

  /// A checkpoint has all that the next round depends on; if models are exchanged in parts, or late, each rank's own model too, and what
  /// is on its way.
  @Test(
    arguments: [
      ("local:steps=4,warm-start=1", "one-bit", "sgd"), ("local:steps=4", "none", "adamw"),
      ("block-momentum:steps=4,warm-start=0,outer-momentum=0.5", "one-bit", "sgd"),
      ("local:steps=4,outer=lion,inner=average", "multi-bit:bits=2", "adam"),
      ("local:steps=4,outer=heavy-ball,outer-momentum=0.5", "fetch-sgd:k=1/10,columns=1/4", "sgd"),
      ("local:steps=4,fragments=2,warm-start=1", "one-bit", "sgd"), ("local:steps=4,delay=2", "none", "adamw"),
      ("local:steps=4,fragments=2,delay=1,mix=0.5", "multi-bit:bits=2", "adamw"),
      ("block-momentum:steps=4,fragments=3,delay=1,warm-start=0,outer-momentum=0.5", "one-bit", "sgd"),
      ("local:steps=4,fragments=2,delay=2,outer=lion,inner=average", "none", "adam"),
      ("local:steps=4,delay=4,outer=heavy-ball,outer-momentum=0.5", "fetch-sgd:k=1/10,columns=1/4", "sgd"),
      ("local:steps=4,warm-start=0", "e3m0", "sgd"), ("local:steps=4,fragments=2,delay=2,warm-start=1", "e3m0", "adamw"),
    ]) func resumesBitForBit(_ strategy: String, _ codec: String, _ optimizer: String) throws
  {
    let run = settings(strategy) {
      ($0.codec, $0.optimizer) = (codec, optimizer)
      if optimizer != "sgd" { ($0.momentum, $0.learningRate, $0.weightDecay) = (TrainerOptions().momentum, 0.003, 0.1) }
    }
    let whole = try train(run).modelHash
    #expect(try trainBrokenOff(after: 8, run, period: 4).modelHash == whole)
  }

  /// On one rank instead of several, and on several instead of one: momenta move with their owners, and a rank that did not exist takes
  /// the optimizer of rank 0.
  @Test(.ranks(atLeast: 2), arguments: [true, false]) func otherRanksGoOn(_ becomesOne: Bool) throws {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("local:steps=4,outer-rate=0.7,outer-momentum=0.5") { $0.checkpoint = directory.path + "/checkpoints" }
    run.output = directory.path + "/model.safetensors"
    let plain = PlainRounds(steps: 4, style: .nesterov, rate: 0.7, momentum: 0.5) {
      ($0 < 2) == becomesOne ? world.count : 1
    }
    let right = try plain.train(run).start
    let alone = try world.split(color: world.rank == 0 ? 0 : nil)
    func first(_ ranks: Communicator) throws {
      let trainer = try TrainingRun(run, on: ranks, isSilent: true)
      trainer.lastStep = 8
      #expect(try trainer.run().wasStopped)
    }
    func second(_ ranks: Communicator) throws { _ = try TrainingRun(run, on: ranks, isSilent: true).run() }
    if becomesOne { try first(world) } else if let alone { try first(alone) }
    try world.barrier()
    run.resume = true
    if !becomesOne { try second(world) } else if let alone { try second(alone) }
    try world.barrier()
    let reader = try SafetensorsReader(run.output!)
    var found: [Float] = []
    for entry in reader.entries {
      let buffer = FloatBuffer(count: entry.count)
      try reader.read(entry, from: 0, into: buffer.values)
      found += (0..<entry.count).map { buffer[$0] }
    }
    let wrong = right.indices.filter { found[$0] != right[$0] }
    #expect(wrong.isEmpty, "\(wrong.count) of \(right.count) values differ")
    try world.barrier()
  }

  /// What ranks and owners have not sent is in the model after the next round of the one rank that is left: e in its Ψ̄, E beside it.
  @Test(.ranks(atLeast: 2), arguments: ["one-bit", "e3m0"]) func residualsAreConservedOnOneRank(_ codec: String) throws {
    let directory = try TemporaryDirectory(on: world)
    // Nothing moves in the second job: its rate is too small.
    var run = settings("local:steps=4,warm-start=0,outer-rate=0.5,outer-momentum=0.5") {
      ($0.checkpoint, $0.codec, $0.schedule) = (directory.path + "/checkpoints", codec, "step:every=8,by=0")
    }
    run.steps = 12
    let (before, e, rest, v) = try saved(run, after: 8)
    try world.barrier()
    run.resume = true
    if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
      let second = try TrainingRun(run, on: alone, isSilent: true)
      _ = try second.run()
      let errors = before.indices.map { i in
        let momentum = 0.5 * v[i] + e[i]
        return abs(Double(second.parameters[i]) - before[i] + 0.5 * (e[i] + 0.5 * momentum) + rest[i])
      }
      #expect(errors.max()! < 1e-5)
      #expect(rest.contains { abs($0) > 1e-3 } && e.contains { abs($0) > 1e-3 })
    }
    try world.barrier()
  }

  /// A job that is stopped after `steps` steps: its model, and what ranks and owners have not sent and the outer momentum, as sums.
  private func saved(
    _ run: TrainerOptions, after steps: Int
  ) throws -> (model: [Double], ranks: [Double], owners: [Double], momentum: [Double]) {
    let trainer = try TrainingRun(run, on: world, isSilent: true)
    trainer.lastStep = steps
    #expect(try trainer.run().wasStopped)
    var state = StateInventory()
    trainer.strategy.contribute(to: &state)
    func gathered(_ name: String) throws -> [Double] {
      let tensor = try #require(state.tensor(name))
      var whole = [Double](repeating: 0, count: trainer.parameters.count)
      var ranges = [0..<whole.count]
      if case .owned(let owned) = tensor.placement { ranges = owned }
      var offset = 0
      for range in ranges {
        for i in range { whole[i] = Double(tensor.values[offset + i - range.lowerBound]) }
        offset += range.count
      }
      let all = try world.allGather(whole)
      return whole.indices.map { i in stride(from: i, to: all.count, by: whole.count).reduce(0) { $0 + all[$1] } }
    }
    return (
      trainer.parameters.values.map(Double.init), try gathered("residual"), try gathered("ownerResidual"),
      try gathered("outerMomentum")
    )
  }
}
