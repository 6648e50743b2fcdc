import Buffers
import Checkpoints
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

@Suite(.serialized) struct CheckpointStoreTests {
  @Test func whatIsSavedComesBackBitForBit() throws {
    let directory = try TemporaryDirectory(on: world)
    let saved = SampleState(seed: 1, on: world)
    let before = saved.bits
    let store = try CheckpointStore(directory: directory.path + "/a/b", on: world)
    #expect(try store.open(resume: false).run == nil)
    let state = saved.inventory(counters: ["warmStart": "12"], ownCounters: ["seen": "rank \(world.rank)"])
    let outcome = try store.save(state, step: 100, options: sampleOptions)
    #expect(outcome == .saved(path: directory.path + "/a/b/step-00000100"))
    #expect(saved.bits == before, "saving changed the state")
    #expect(try store.save(state, step: 100, options: sampleOptions) == .unchanged(path: directory.path + "/a/b/step-00000100"))

    let files = ["model.safetensors", "run.json"] + (0..<world.count).map { "state-0000\($0).safetensors" }
    #expect(try directory.names(in: "a/b/step-00000100") == files)
    #expect(try directory.names(in: "a/b") == ["step-00000100"])

    let resumed = try reopened(store: store, directory.path + "/a/b")
    let run = try #require(resumed.opening.run)
    #expect(resumed.opening.notes == [])
    #expect(run.step == 100 && run.ranks == world.count && run.options == sampleOptions)
    let fresh = SampleState(seed: nil, on: world)
    var inventory = fresh.inventory()
    try resumed.store.load(run, into: &inventory)
    #expect(fresh.bits == before)
    #expect(inventory.counters == ["warmStart": "12", "step": "100"])
    #expect(inventory.ownCounters == ["seen": "rank \(world.rank)"])
    #expect(try resumed.store.save(inventory, step: 100, options: sampleOptions) == .unchanged(path: run.path))
  }

  @Test func checkpointsWithoutResumeAreRefused() throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [7]))
    let error = #expect(throws: CheckpointError.self) {
      _ = try CheckpointStore(directory: directory.path, on: world).open(resume: false)
    }
    #expect(error?.exitStatus == 65)
    #expect(
      error?.description
        == "\(directory.path) already holds the checkpoint step-00000007; add --resume to go on from it, or name another directory"
    )
    #expect(try directory.names() == ["step-00000007"])
  }

  @Test func resumingNothingStartsAfreshAndSaysSo() throws {
    let directory = try TemporaryDirectory(on: world)
    let opening = try CheckpointStore(directory: directory.path + "/new", on: world).open(resume: true)
    #expect(opening.run == nil)
    #expect(opening.notes == ["nothing to resume in \(directory.path)/new: the run starts from the beginning"])
  }

  @Test func theNewestTwoStay() throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [1, 2, 3, 10]))
    #expect(try directory.names() == ["step-00000003", "step-00000010"])
  }

  @Test func leftoversOfKilledJobsAreRemovedAndNeverTaken() throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [5]))
    try directory.change {
      let files = FileManager.default
      // Killed just before the rename: whole, but not yet a checkpoint.
      try files.copyItem(atPath: directory.path + "/step-00000005", toPath: directory.path + "/.step-00000005.partial")
      // Killed while an old one was being removed.
      try files.copyItem(atPath: directory.path + "/step-00000005", toPath: directory.path + "/.step-00000004.old.partial")
      try files.removeItem(atPath: directory.path + "/.step-00000004.old.partial/run.json")
      try Data().write(to: URL(fileURLWithPath: directory.path + "/.probe-0123456789abcdef-0"))
    }
    let opening = try CheckpointStore(directory: directory.path, on: world).open(resume: true)
    #expect(opening.run?.step == 5)
    #expect(opening.notes == [])
    #expect(try directory.names() == ["step-00000005"])
  }

  @Test func twoJobsDoNotShareADirectory() throws {
    let directory = try TemporaryDirectory(on: world)
    let store = try CheckpointStore(directory: directory.path, on: world)
    _ = try store.open(resume: false)
    let other = try CheckpointStore(directory: directory.path, on: world, patience: 0.2)
    let error = #expect(throws: CheckpointError.self) { _ = try other.open(resume: true) }
    #expect(error?.description == "another job is writing its checkpoints in \(directory.path)")
    try closed(store)
  }

  @Test func aDirectoryThatCannotBeMadeIsRefusedBeforeTheRun() throws {
    let directory = try TemporaryDirectory(on: world)
    try directory.change { try Data([1]).write(to: URL(fileURLWithPath: directory.path + "/file")) }
    for (path, reason) in [("file", "Not a directory"), ("file/below", "Not a directory")] {
      let error = #expect(throws: CheckpointError.self) {
        _ = try CheckpointStore(directory: "\(directory.path)/\(path)", on: world).open(resume: false)
      }
      #expect(error?.exitStatus == 74)
      #expect(error?.description == "cannot make the directory \(directory.path)/\(path): \(reason)")
    }
  }

  @Test func otherOptionsAreRefusedByName() throws {
    let directory = try TemporaryDirectory(on: world)
    let store = try makeStore(in: directory, steps: [3])
    let run = try #require(try reopened(store: store, directory.path).opening.run)
    #expect(throws: Never.self) { try run.check(sampleOptions, exempt: []) }
    var other = sampleOptions
    other["epochs"] = "6"
    #expect(throws: Never.self) { try run.check(other, exempt: ["epochs"]) }
    other["minibatch"] = "128"
    other["codec"] = nil
    other["clip"] = "1"
    let error = #expect(throws: CheckpointError.self) { try run.check(other, exempt: ["epochs"]) }
    #expect(
      error?.description == "\(directory.path)/step-00000003 belongs to a run with other options: "
        + "--clip was not given and is now 1; --codec was one-bit and is now not given; --minibatch was 256 and is now 128")
  }

  @Test func anotherModelIsRefusedByItsFirstTensor() throws {
    let directory = try TemporaryDirectory(on: world)
    let (store, opening) = try reopened(store: makeStore(in: directory, steps: [3]), directory.path)
    let run = try #require(opening.run)
    let file = directory.path + "/step-00000003/model.safetensors"
    func error(_ shapes: [(name: String, shape: [Int])]) throws -> CheckpointError? {
      let layout = TensorLayout(shapes)
      let buffer = FloatBuffer(count: layout.count)
      var state = StateInventory()
      state.model = layout.tensors.map { SavedTensor($0.name, shape: $0.shape, of: buffer, range: $0.range) }
      return #expect(throws: CheckpointError.self) { try store.load(run, into: &state) }
    }
    var shapes: [(name: String, shape: [Int])] = [
      ("layers.2.weight", [3, 5]), ("layers.2.bias", [3]), ("layers.1.weight", [5, 8]), ("layers.1.bias", [6]),
    ]
    #expect(
      try error(shapes)?.description
        == "\(file) is of another model: 'layers.1.weight' has the shape [5, 7] there and [5, 8] here")
    shapes[2] = ("layers.7.weight", [5, 7])
    #expect(try error(shapes)?.description == "\(file) is of another model: it lacks 'layers.7.weight' of shape [5, 7]")
    #expect(
      try error(Array(shapes.prefix(2)))?.description
        == "\(file) is of another model: it holds 'layers.1.weight' of shape [5, 7], which this model lacks")
  }
}

/// A store that has saved checkpoints of the sample state after these steps.
func makeStore(in directory: TemporaryDirectory, steps: [Int], on group: Communicator = world) throws -> CheckpointStore {
  let store = try CheckpointStore(directory: directory.path, on: group)
  _ = try store.open(resume: false)
  for step in steps {
    let state = SampleState(seed: UInt64(step), on: group)
    _ = try store.save(state.inventory(), step: step, options: sampleOptions)
  }
  return store
}

/// Lets go of a store's lock on all ranks.
func closed(_ store: CheckpointStore) throws {
  store.close()
  try world.barrier()
}

/// Lets go of a store and opens its directory again, as a resumed job does.
func reopened(
  store: CheckpointStore, _ path: String
) throws -> (store: CheckpointStore, opening: CheckpointStore.Opening) {
  try closed(store)
  let store = try CheckpointStore(directory: path, on: world)
  return try (store, store.open(resume: true))
}
