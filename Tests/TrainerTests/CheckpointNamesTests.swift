import Buffers
import Checkpoints
import Foundation
import Glibc
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// A checkpoint is what holds one, whatever it is called; and what is not the store's stays, whatever it is called.
@Suite(.serialized) struct CheckpointNamesTests {
  private let files = FileManager.default

  private func open(_ path: String, resume: Bool = true) throws -> CheckpointStore.Opening {
    let store = try CheckpointStore(directory: path, on: world)
    defer { store.close() }
    return try store.open(resume: resume)
  }

  @Test(arguments: ["best", "step-00000011", "step-00000003", "step-10", "a b:c", "step-00000010-keep"])
  func aRenamedCheckpointIsTaken(_ name: String) throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [10]))
    let path = directory.path + "/" + name
    try directory.change { try files.moveItem(atPath: directory.path + "/step-00000010", toPath: path) }
    let error = #expect(throws: CheckpointError.self) { _ = try open(directory.path, resume: false) }
    #expect(error?.description.contains("already holds the checkpoint \(name); add --resume") == true)
    let store = try CheckpointStore(directory: directory.path, on: world)
    let opening = try store.open(resume: true)
    #expect(opening.run?.step == 10 && opening.run?.path == path && opening.notes == [])
    var state = SampleState(seed: nil, on: world).inventory()
    try store.load(#require(opening.run), into: &state)
    // The run goes on, and comes by the names that are taken.
    #expect(try store.save(state, step: 10, options: sampleOptions) == .unchanged(path: path))
    for step in [11, 12, 13] {
      #expect(try store.save(state, step: step, options: sampleOptions) == .saved(path: "\(directory.path)/step-000000\(step)"))
    }
    let kept = name == "step-00000011" ? name + ".kept-1" : name
    #expect(try directory.names() == [kept, "step-00000012", "step-00000013"].sorted())
    #expect(try directory.names(in: kept).count == 2 + world.count)
    try closed(store)
  }

  @Test func copiesAndLinksAreTaken() throws {
    let (directory, other) = (try TemporaryDirectory(on: world), try TemporaryDirectory(on: world))
    try closed(makeStore(in: directory, steps: [10, 20]))
    try directory.change {
      try files.createDirectory(atPath: other.path + "/copy", withIntermediateDirectories: false)
      try files.copyItem(atPath: directory.path + "/step-00000010", toPath: other.path + "/copy/mine")
      try files.createDirectory(atPath: other.path + "/links", withIntermediateDirectories: false)
      try files.createSymbolicLink(
        atPath: other.path + "/links/step-00000020", withDestinationPath: directory.path + "/step-00000020")
      try files.createSymbolicLink(atPath: other.path + "/link", withDestinationPath: directory.path)
    }
    for (path, name, step) in [("copy", "mine", 10), ("links", "step-00000020", 20), ("link/", "step-00000020", 20)] {
      let run = try open("\(other.path)/\(path)").run
      #expect(run?.step == step && run?.path == "\(other.path)/\(path)/\(name)")
    }
    // The newest counts, by what it holds.
    try directory.change {
      try files.moveItem(atPath: directory.path + "/step-00000020", toPath: directory.path + "/a")
    }
    #expect(try open(directory.path).run?.path == directory.path + "/a")
    try world.barrier()
  }

  /// Checkpoints in a checkpoint would go with it.
  @Test(arguments: [true, false]) func aCheckpointIsNoDirectoryOfThem(resume: Bool) throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [10]))
    let (whole, link) = (directory.path + "/step-00000010", directory.path + "/link")
    try directory.change { try files.createSymbolicLink(atPath: link, withDestinationPath: "step-00000010") }
    let before = try directory.names(in: "step-00000010")
    for path in [whole, whole + "/", whole + "/.", link, link + "/"] {
      let error = #expect(throws: CheckpointError.self) { _ = try open(path, resume: resume) }
      #expect(error?.exitStatus == 65)
      let words = error?.description ?? ""
      #expect(words.hasPrefix("\(path) is a checkpoint; name its directory, /"), "\(words)")
      let name = words.split(separator: ", ").dropFirst().first.map { String($0.prefix { $0 != " " }) } ?? ""
      #expect(
        URL(fileURLWithPath: name.components(separatedBy: " ")[0]).resolvingSymlinksInPath().lastPathComponent
          == URL(fileURLWithPath: directory.path).lastPathComponent, "\(words)")
    }
    for path in [whole + "/new", link + "/a/b/c"] {
      let error = #expect(throws: CheckpointError.self) { _ = try open(path, resume: resume) }
      #expect(error?.description.contains("lies inside the checkpoint") == true && error?.exitStatus == 65)
    }
    #expect(try directory.names(in: "step-00000010") == before)
    try world.barrier()
  }

  /// A configuration that happens to be called as a checkpoint's record makes no checkpoint of a directory.
  @Test func anotherRecordIsNone() throws {
    let directory = try TemporaryDirectory(on: world)
    try directory.change { try Data("{\"runs\": 3}".utf8).write(to: URL(fileURLWithPath: directory.path + "/run.json")) }
    #expect(try open(directory.path, resume: false).run == nil)
    #expect(try directory.names() == ["run.json"])
  }

  @Test func whatTheStoreHasNotWrittenStays() throws {
    let directory = try TemporaryDirectory(on: world)
    let store = try makeStore(in: directory, steps: [1, 2])
    let mine = [
      ".probe-mine", ".probe-0123456789abcdef-mine", ".step-00000009.partial/notes", ".step-00000001.old.partial/notes",
      ".step-mine.partial/model.safetensors", "best/notes", "notes", "step-00000001-keep/run.json", "step-00000001/notes",
      "step-1/model.safetensors",
    ].map { directory.path + "/" + $0 }
    let old = directory.path + "/step-00000000"
    try directory.change {
      for path in mine {
        let url = URL(fileURLWithPath: path)
        try files.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data("mine".utf8).write(to: url)
      }
      // A link with the name of an old checkpoint, and a checkpoint of another step with one.
      try files.createSymbolicLink(atPath: old, withDestinationPath: "step-00000002")
    }
    try closed(store)
    let (second, opening) = try reopened(store: store, directory.path)
    #expect(opening.run?.step == 2)
    for step in [9, 10, 11, 12] {
      let outcome = try second.save(SampleState(seed: 3, on: world).inventory(), step: step, options: sampleOptions)
      if step == 9 {
        var words = ""
        if case .failed(let warning?) = outcome { words = warning }
        #expect(words.contains(".step-00000009.partial is in the way"), "\(outcome)")
      } else {
        #expect(outcome == .saved(path: "\(directory.path)/step-000000\(step)"))
      }
    }
    try world.barrier()
    for path in mine { #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine", "\(path)") }
    #expect(try files.destinationOfSymbolicLink(atPath: old) == "step-00000002")
    #expect(
      try directory.names().filter { $0.hasPrefix("step-000000") && !$0.contains("keep") }
        == ["step-00000000", "step-00000001", "step-00000011", "step-00000012"])
    try closed(second)
  }

  /// Another job holds the directory, writes a checkpoint, removes those that were there, and lets go.
  @Test func checkpointsAreListedWhenNobodyElseWrites() throws {
    let (directory, other) = (try TemporaryDirectory(on: world), try TemporaryDirectory(on: world))
    try closed(makeStore(in: directory, steps: [10]))
    try closed(makeStore(in: other, steps: [20]))
    let store = try CheckpointStore(directory: directory.path, on: world, patience: 60)
    let (path, source) = (directory.path, other.path)
    if world.rank == 0 {
      let lock = Glibc.open(path, O_RDONLY | O_DIRECTORY)
      try #require(flock(lock, LOCK_EX) == 0)
      Thread.detachNewThread {
        usleep(700_000)
        try? FileManager.default.moveItem(atPath: source + "/step-00000020", toPath: path + "/step-00000020")
        try? FileManager.default.removeItem(atPath: path + "/step-00000010")
        close(lock)
      }
    }
    let opening = try store.open(resume: true)
    #expect(opening.run?.step == 20 && opening.notes == [])
    try closed(store)
  }

  /// A directory that filled while it was waited for is not one to begin in.
  @Test func aRunDoesNotBeginInADirectoryThatAnotherHasFilled() throws {
    let (directory, other) = (try TemporaryDirectory(on: world), try TemporaryDirectory(on: world))
    try closed(makeStore(in: other, steps: [20]))
    let store = try CheckpointStore(directory: directory.path, on: world, patience: 60)
    let (path, source) = (directory.path, other.path)
    if world.rank == 0 {
      let lock = Glibc.open(path, O_RDONLY | O_DIRECTORY)
      try #require(flock(lock, LOCK_EX) == 0)
      Thread.detachNewThread {
        usleep(700_000)
        try? FileManager.default.moveItem(atPath: source + "/step-00000020", toPath: path + "/step-00000020")
        close(lock)
      }
    }
    let error = #expect(throws: CheckpointError.self) { _ = try store.open(resume: false) }
    #expect(error?.description.contains("already holds the checkpoint step-00000020") == true)
    // And it lets go.
    #expect(try open(directory.path).run?.step == 20)
    try world.barrier()
  }

  /// The record of a version that said nothing of placement, written out.
  @Test func checkpointsWithoutAPlacementAreRead() throws {
    let directory = try TemporaryDirectory(on: world)
    try closed(makeStore(in: directory, steps: [10]))
    try directory.change {
      let path = directory.path + "/step-00000010/run.json"
      let text = try String(contentsOfFile: path, encoding: .utf8)
      #expect(text.contains("\"placement\":null,"))
      let covered = text.components(separatedBy: ",\"hash\"").dropLast().joined(separator: ",\"hash\"")
        .replacingOccurrences(of: "\"placement\":null,", with: "")
      let hash = String(XXHash64.hash(covered), radix: 16)
      let padded = String(repeating: "0", count: 16 - hash.count) + hash
      try Data("\(covered),\"hash\":\"\(padded)\"}\n".utf8).write(to: URL(fileURLWithPath: path))
    }
    let run = try open(directory.path).run
    #expect(run?.step == 10 && run?.placement == nil)
    try world.barrier()
  }
}
