import Buffers
import Codecs
import Collectives
import MPI
import Synchronization
import Testing
import Transport
@testable import _CollectivesSupport

/// Decodes as another codec does, and notes whether streamed values were made visible.
private struct WatchedCodec: Codec {
  final class Log: Sendable {
    struct Counts {
      var streamed = 0
      /// Of these, groups after which nobody has called `finishStreaming()` yet.
      var unfinished = 0
    }
    let counts = Mutex(Counts())
  }

  let base: any Codec
  let log = Log()

  var specification: String { base.specification }
  var name: String { base.name }
  var grouping: Grouping { base.grouping }
  var isIdentity: Bool { base.isIdentity }
  func codeByteCount(of count: Int) -> Int { base.codeByteCount(of: count) }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? { base.encode(gradient: gradient, residual: residual, count: count, into: code, context: context) }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    base.decode(code, byteCount: byteCount, count: count, setting: values, streaming: streaming)
    guard streaming else { return }
    log.counts.withLock {
      $0.streamed += 1
      $0.unfinished += 1
    }
  }

  func finishStreaming() {
    base.finishStreaming()
    log.counts.withLock { $0.unfinished = 0 }
  }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    base.decode(code, byteCount: byteCount, count: count, addingTo: values)
  }

  func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) { base.decodeSum(codes, codeCount: codeCount, count: count, into: values) }
}

/// Stores that bypass the cache are made visible before anybody is told that they are there.
@Suite(.serialized) struct StreamedStoreTests {
  @Test(
    .enabled(if: [2, 4].contains(allRanks.count)), arguments: ["none", "one-bit:group=1024", "multi-bit:group=4096"],
    transports)
  func everyUnitOfWorkEndsVisible(_ name: String, _ transport: Transport) throws {
    // So large that stores had better bypass the cache.
    let (layout, ranks) = (TensorLayout([("weights", [2050, 1024])]), Float(allRanks.count))
    let hosts = try HostMap(allRanks, transport: transport)
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let codec = WatchedCodec(base: try codecs.make(name))
    let left = Mutex(0)
    var options = CodedAllReduce.Options()
    options.observer = { _ in left.withLock { $0 += codec.log.counts.withLock { $0.unfinished } } }
    let exchange = try CodedAllReduce(codec, layout: layout, gradient: gradient, options: options)
    let output = FloatBuffer(count: layout.count)
    for (step, destination) in [Sink.buffer(output), .inPlace].enumerated() {
      gradient.values.set(drawSawtooth(count: layout.count))
      codec.log.counts.withLock { $0.streamed = 0 }
      try exchange.run(step: step, into: destination)
      // Inside a host, owners write floats where they are wanted.
      let isWritten = codec.isIdentity && step == 1 && transport == .auto
      #expect(codec.log.counts.withLock { ($0.streamed > 0) != isWritten && $0.unfinished == 0 }, "\(destination)")
      #expect(left.withLock { $0 } == 0, "a unit of work left stores that others may not see")
      if codec.isIdentity {
        let found = step == 0 ? output : gradient.values
        #expect(firstDifference(found.array, drawSawtooth(count: layout.count, times: ranks)) == nil)
      }
      try allRanks.barrier()
    }
  }
}
