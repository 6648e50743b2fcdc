import Buffers
import Codecs
import Collectives
import MPI
import Strategies
import Synchronization
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Every group that a run encodes has random numbers of its own: on every rank, in every slice of a model, and in trials.
@Suite(.serialized, .ranks(atLeast: 2), .enabled(if: World.count <= 4, "a few ranks are enough")) struct RandomCodeTests {
  /// The contexts of all groups that all ranks encode in a run.
  private func contexts(_ strategy: String, _ options: TrainerOptions) throws -> [EncodingContext] {
    let log = ContextLog()
    var recipe = try strategies.make(strategy)
    recipe.aggregation = AggregationRecipe(try LoggingCodec(log: log))
    _ = try TrainingRun(options, on: world, isSilent: true, strategy: recipe).run()
    let own = log.contexts.withLock { $0 }.flatMap { [Int($0.seed), $0.step, $0.stream, $0.tensor, $0.group] }
    let most = try world.allReduce(own.count, .max)
    let all = try world.allGather(own + Array(repeating: -1, count: most - own.count))
    return stride(from: 0, to: all.count, by: 5).filter { all[$0] >= 0 }.map { start in
      EncodingContext(
        seed: UInt64(all[start]), step: all[start + 1], stream: all[start + 2], tensor: all[start + 3], group: all[start + 4])
    }
  }

  private static let firstTrial = 1 << 31

  @Test(arguments: ["all-reduce", "double-buffer"], [1, 2]) func noGroupIsDrawnTwice(_ strategy: String, _ sliceCount: Int)
    throws
  {
    guard world.count % sliceCount == 0, world.count > sliceCount else { return }
    let run = options {
      ($0.model, $0.data, $0.minibatch) = ("mlp:8,8", "glyphs:train=160,test=20", 32)
      ($0.epochs, $0.steps, $0.modelParallel, $0.verifyEvery) = (2, nil, sliceCount, 0)
      ($0.tuneRate, $0.tuneMinibatch) = ("search:samples=64", "search:samples=128,max=128")
    }
    let found = try contexts(strategy, run)
    #expect(Set(found).count == found.count, "\(found.count - Set(found).count) of \(found.count) groups are drawn again")
    #expect(found.contains { $0.step >= Self.firstTrial } && found.contains { $0.step < Self.firstTrial })
    #expect(Set(found.map(\.stream)).count == 2 * world.count && found.allSatisfy { $0.step < 1 << 32 })
    try world.barrier()
  }
}

/// What was encoded.
private final class ContextLog: Sendable {
  let contexts = Mutex<[EncodingContext]>([])
}

/// One bit per value, with a record of the context of every group.
private struct LoggingCodec: Codec {
  let log: ContextLog
  private let base: any Codec

  init(log: ContextLog) throws { (self.log, base) = (log, try codecs.make("one-bit")) }

  var specification: String { base.specification }
  var name: String { base.name }
  var grouping: Grouping { base.grouping }
  var isIdentity: Bool { false }

  func codeByteCount(of count: Int) -> Int { base.codeByteCount(of: count) }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    log.contexts.withLock { $0.append(context) }
    return base.encode(gradient: gradient, residual: residual, count: count, into: code, context: context)
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { base.decode(code, byteCount: byteCount, count: count, setting: values, streaming: streaming) }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    base.decode(code, byteCount: byteCount, count: count, addingTo: values)
  }
}
