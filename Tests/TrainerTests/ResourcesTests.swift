import Buffers
import Checkpoints
import Foundation
import Kernels
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// What a run asks of its host before it begins.
@Suite(.serialized) struct ResourcesTests {
  @Test func moreThanAHostHasIsRefusedOnAllRanks() throws {
    let agreement = try Agreement(world: World.communicator)
    var need = MemoryNeed()
    need.add("parameters", 1_000_000)
    try need.check(over: agreement)
    need.add("gradient", 1 << 48)
    let error = #expect(throws: TrainingError.self) { try need.check(over: agreement) }
    #expect(error?.exitStatus == 74)
    #expect(error?.description.contains("not enough memory: a rank needs 1.1 PB at least (gradient 1.1 PB") ?? false)
  }

  /// Rank 0's words where one rank alone needs too much.
  @Test(.ranks(atLeast: 2)) func whatOneRankLacksEndsAll() throws {
    let agreement = try Agreement(world: World.communicator)
    var need = MemoryNeed()
    if World.rank == 1 { need.add("parameters", 1 << 48) }
    let error = #expect(throws: TrainingError.self) { try need.check(over: agreement) }
    #expect(error?.exitStatus == 74)
  }

  /// Memory of other ranks takes addresses, and what is shared is no data; what the sentence says never fits.
  @Test func theNeedThatIsToldExceedsWhatALimitLeaves() throws {
    var need = MemoryNeed()
    need.add("parameters", 5_000_000)
    (need.mappedByteCount, need.sharedByteCount) = (30_000_000, 8_000_000)
    func sentence(_ kind: MemoryLimit.Kind, left: Int) -> String? {
      do { try need.checkLimits([MemoryLimit(kind: kind, byteCount: 100_000_000, left: left)]) } catch { return "\(error)" }
      return nil
    }
    #expect(sentence(.addressSpace, left: 50_000_000) == nil)
    let need50 = "a rank needs 50 MB at least (memory of other ranks 30 MB, parameters 20 MB)"
    let addresses = "not enough memory: \(need50), and the limit of address space (ulimit -v, 100 MB) leaves 49 MB"
    #expect(sentence(.addressSpace, left: 49_000_000) == addresses)
    #expect(sentence(.data, left: 12_000_000) == nil)
    let data = "a rank needs 20 MB at least (parameters 20 MB), and the limit of data (ulimit -d, 100 MB) leaves 11 MB"
    #expect(sentence(.data, left: 11_000_000) == "not enough memory: \(data)")
  }

  /// What an optimizer keeps is counted before it is made.
  @Test func theMemoryOfAnOptimizerIsThatOfItsRecipe() throws {
    let grid = try RankGrid(HostMap(World.communicator))
    let network = try models.make("softmax")(99, 10)
    for (optimizer, momentum, count) in [
      ("sgd", 0.9, 1), ("sgd", 0, 0), ("sgd:time-constant=500", 0.9, 1), ("adam", 0.9, 2), ("adamw", 0.9, 2),
      ("adagrad:place=partial", 0, 2), ("adagrad", 0.9, 2), ("adagrad:place=momentum", 0.9, 3),
    ] {
      let options = options { ($0.optimizer, $0.momentum) = (optimizer, momentum) }
      let need = try MemoryNeed(options, Recipe(options), network: network, sampleCount: 10, on: grid)
      #expect(need.parts.first { $0.name == "optimizer" }?.byteCount == 4000 * count, "\(optimizer)")
    }
  }

  @Test func controlGroupsLimitCoresAndMemory() throws {
    let root = NSTemporaryDirectory() + "morse-groups-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: root) }
    try FileManager.default.createDirectory(atPath: root + "/job/step", withIntermediateDirectories: true)
    func write(_ name: String, _ text: String) throws {
      try text.write(toFile: "\(root)/\(name)", atomically: false, encoding: .utf8)
    }
    #expect(ControlGroup(root: root, path: "/job/step").coreCount == nil)
    #expect(ControlGroup(root: root, path: "/").memoryLeft == nil)
    try write("job/step/cpu.max", "max 100000\n")
    try write("job/cpu.max", "250000 100000\n")
    #expect(ControlGroup(root: root, path: "/job/step").coreCount == 3)
    try write("job/step/memory.max", "max\n")
    try write("job/memory.max", "1000000\n")
    try write("job/memory.current", "700000\n")
    try write("job/memory.stat", "anon 5\ninactive_file 200000\nactive_file 7\n")
    #expect(ControlGroup(root: root, path: "/job/step").memoryLeft == 500_000)
    #expect(ControlGroup(root: root, path: "/").memoryLeft == nil)
  }

  @Test func adviceNamesNumbersAndRemedies() {
    let few = StartAdvice.tooManyThreads(4, rank: 2, cores: 1, of: 8)
    #expect(few.contains("--threads 4 is more than the 1 core that rank 2 may use") && few.contains("node:PE=4"))
    let all = StartAdvice.tooManyThreads(4, rank: 0, cores: 2, of: 2)
    #expect(all.contains("ask for at most 2") && !all.contains("mpirun"))
    #expect(productAdvice(instructionSet: "any", path: .portable)?.contains("portable code") ?? false)
    #expect(productAdvice(instructionSet: "sse41", path: .avx2)?.contains("unset DNNL_MAX_CPU_ISA") ?? false)
    // No machine of today computes like this.
    let other = "oneDNN 2.6.3, none, 1 thread"
    #expect(
      StartAdvice.otherArithmetic(than: other)?.contains("computed with \(other), and this one computes with oneDNN") ?? false)
    #expect(StartAdvice.otherArithmetic(than: nil) == nil && StartAdvice.otherArithmetic(than: other, now: other) == nil)
    // An old processor, and code that is right.
    #expect(productAdvice(instructionSet: "sse41", path: .portable) == nil)
    #expect(productAdvice(instructionSet: "avx2", path: .avx512) == nil)
  }
}
