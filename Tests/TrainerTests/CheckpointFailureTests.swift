import Checkpoints
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// A disk that does not take a checkpoint: all ranks go on with the previous one.
@Suite(.serialized) struct CheckpointFailureTests {
  /// Under `mpirun` the limit is set in this process: its output goes through a pipe, which has no size.
  @Test(.enabled(if: world.count > 1, "the limit would cover the test's own output; see the test in a child process"))
  func aFileSizeLimitOnOneRankIsAgreedOn() throws { try failOnLastRank() }

  @Test(.outsideMPI)
  func aFileSizeLimitEndsNothing() async {
    await #expect(processExitsWith: .success) { try failOnLastRank() }
  }

  @Test func whatCannotBeRenamedIsOneWarning() throws {
    let directory = try TemporaryDirectory(on: world)
    let store = try makeStore(in: directory, steps: [1])
    // The directory vanishes under the run, and something else has its name.
    try directory.change {
      try FileManager.default.moveItem(atPath: directory.path, toPath: directory.path + ".moved")
      try Data().write(to: URL(fileURLWithPath: directory.path))
    }
    let state = SampleState(seed: 2, on: world).inventory()
    let outcome = try store.save(state, step: 2, options: sampleOptions)
    let who = world.count == 1 ? "" : "rank 0: "
    #expect(
      outcome
        == .failed(
          warning: "no checkpoint at step 2: \(who)cannot make the directory \(directory.path)/.step-00000002.partial: "
            + "Not a directory; the run goes on"))
    #expect(try store.save(state, step: 3, options: sampleOptions) == .failed(warning: nil))
    try directory.change {
      try FileManager.default.removeItem(atPath: directory.path)
      try FileManager.default.moveItem(atPath: directory.path + ".moved", toPath: directory.path)
    }
    #expect(try store.save(state, step: 4, options: sampleOptions) == .saved(path: directory.path + "/step-00000004"))
  }
}

/// Saves with a limit of file sizes on the last rank; throws where anything is not as it should be.
private func failOnLastRank() throws {
  struct Surprise: Error { let text: String }
  func require(_ condition: Bool, _ text: String) throws { if !condition { throw Surprise(text: text) } }

  let directory = try TemporaryDirectory(on: world)
  let store = try makeStore(in: directory, steps: [1])
  let state = SampleState(seed: 2, on: world).inventory()
  var old = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old)
  if world.rank == world.count - 1 {
    var small = rlimit(rlim_cur: 300, rlim_max: old.rlim_max)
    setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &small)
  }
  let outcome = try store.save(state, step: 2, options: sampleOptions)
  let second = try store.save(state, step: 3, options: sampleOptions)
  setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old)

  let last = world.count - 1
  let file = world.count == 1 ? "model.safetensors" : "state-0000\(last).safetensors"
  let who = world.count == 1 ? "" : "rank \(last): "
  let warning =
    "no checkpoint at step 2: \(who)cannot write \(directory.path)/.step-00000002.partial/\(file): File too large; the run goes on"
  try require(outcome == .failed(warning: warning), "\(outcome)")
  try require(second == .failed(warning: nil), "\(second)")
  try require(try directory.names() == ["step-00000001"], "\(try directory.names())")
  let third = try store.save(state, step: 4, options: sampleOptions)
  try require(third == .saved(path: directory.path + "/step-00000004"), "\(third)")
}
