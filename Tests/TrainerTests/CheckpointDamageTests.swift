import Checkpoints
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Every kind of damage to every file of a checkpoint: it is named, and the checkpoint before is taken.
@Suite(.serialized) struct CheckpointDamageTests {
  enum Damage: String, CaseIterable {
    case flippedBit, truncated, lengthened, missing, empty, isDirectory
  }

  @Test(arguments: ["model.safetensors", "state-00000.safetensors", "last state", "run.json"], Damage.allCases)
  func theCheckpointBeforeIsUsed(file: String, damage: Damage) throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [10, 20]))
    let file = file == "last state" ? "state-0000\(world.count - 1).safetensors" : file
    let path = "\(directory.path)/step-00000020/\(file)"
    try directory.change { try inflict(damage, on: path) }

    let (store, opening) = try reopened(store: try CheckpointStore(directory: directory.path, on: world), directory.path)
    let run = try #require(opening.run)
    #expect(run.step == 10)
    #expect(opening.notes.count == 1)
    #expect(opening.notes[0].hasPrefix("checkpoint step-00000020 cannot be used: "))
    #expect(opening.notes[0].contains(file))
    let state = SampleState(seed: nil, on: world)
    var inventory = state.inventory()
    try store.load(run, into: &inventory)
    #expect(state.bits == SampleState(seed: 10, on: world).bits)

    // The run goes on, and comes to the step whose checkpoint is damaged: it is replaced.
    _ = try store.save(SampleState(seed: 15, on: world).inventory(), step: 15, options: sampleOptions)
    #expect(try directory.names() == ["step-00000010", "step-00000015", "step-00000020"])
    #expect(
      try store.save(SampleState(seed: 20, on: world).inventory(), step: 20, options: sampleOptions)
        == .saved(path: directory.path + "/step-00000020"))
    #expect(try directory.names() == ["step-00000015", "step-00000020"])
    #expect(try reopened(store: store, directory.path).opening.run?.step == 20)
  }

  @Test func nothingWholeIsRefused() throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [10, 20]))
    try directory.change {
      for step in ["step-00000010", "step-00000020"] { try inflict(.truncated, on: "\(directory.path)/\(step)/run.json") }
    }
    let error = #expect(throws: CheckpointError.self) {
      _ = try CheckpointStore(directory: directory.path, on: world).open(resume: true)
    }
    #expect(error?.exitStatus == 65)
    #expect(
      error?.description == "no checkpoint in \(directory.path) is complete; "
        + "checkpoint step-00000020 cannot be used: \(directory.path)/step-00000020/run.json is damaged; "
        + "checkpoint step-00000010 cannot be used: \(directory.path)/step-00000010/run.json is damaged")
  }

  private func inflict(_ damage: Damage, on path: String) throws {
    switch damage {
    case .flippedBit: try edit(path) { $0[$0.count / 2] ^= 0x10 }
    case .truncated: try edit(path) { $0.removeLast() }
    case .lengthened: try edit(path) { $0.append(32) }
    case .missing: try FileManager.default.removeItem(atPath: path)
    case .empty: try edit(path) { $0 = Data() }
    case .isDirectory:
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }
  }
}
