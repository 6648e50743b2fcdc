import Buffers
import Collectives
import Foundation
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// While a message is under way its memory does not change: a receiver may read it at any moment until it has arrived.
@Suite(.serialized) struct MessagesUnderWayTests {
  /// Sums of several segments, each on pages of its own for the most part, in messages that Open MPI does not copy.
  private static let layout = TensorLayout([("weights", [4 * allRanks.count, 13_000])])

  /// From the first message of a segment to the last one, the page with its header can be read only: writing ends the process.
  @Test(.enabled(if: allRanks.count > 2, "a sum has two receivers")) func aSumIsNotWrittenBetweenItsMessages() throws {
    let world = allRanks
    let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
    /// The page that is protected, and the messages of its segment so far.
    final class Watch {
      var memory = UnsafeRawBufferPointer(start: nil, count: 0)
      var segments: [Segment] = []
      var owned: [Range<Int>] = []
      var sent = 0
      var count = 0
    }
    let watch = Watch()
    func page(_ segment: Segment) -> UnsafeMutableRawPointer? {
      guard let start = watch.memory.baseAddress, let first = watch.segments.first else { return nil }
      let header = start + (segment.headerOffset - first.headerOffset)
      let page = header - Int(bitPattern: header) % pageSize
      // What shares the page with other memory cannot be protected.
      return page >= start && page + pageSize <= start + watch.memory.count ? UnsafeMutableRawPointer(mutating: page) : nil
    }
    var options = CodedAllReduce.Options()
    options.observer = { event in
      guard event.kind == .send, watch.owned.contains(where: { $0.contains(event.elements.lowerBound) }),
        let segment = watch.segments.first(where: { $0.elements == event.elements }), let page = page(segment)
      else { return }
      watch.sent += 1
      let isLast = watch.sent % (world.count - 1) == 0
      if watch.sent % (world.count - 1) == 1 {
        #expect(mprotect(page, pageSize, PROT_READ) == 0)
        watch.count += 1
      }
      if isLast { #expect(mprotect(page, pageSize, PROT_READ | PROT_WRITE) == 0) }
    }
    let setting = try Setting(.none, Self.layout, .messages, options: options)
    (watch.memory, watch.owned) = (setting.exchange.sumMemory, setting.exchange.ownedRanges)
    watch.segments = setting.exchange.geometry.segments[world.rank]
    for step in 0..<3 {
      let gradients = drawGradients(count: Self.layout.count, seed: 5, step: step, rankCount: world.count)
      let found = try setting.run(gradients[world.rank], step: step)
      var expected = gradients[0]
      for gradient in gradients.dropFirst() { for i in expected.indices { expected[i] += gradient[i] } }
      #expect(firstDifference(found, expected) == nil)
    }
    #expect(watch.count >= 6)
  }

  /// The same without looking: two seconds of exchanges in which a header that changes is soon met.
  @Test(.enabled(if: allRanks.count == 3, "a sum has two receivers")) func manyExchangesMeetNoForeignHeader() throws {
    let layout = TensorLayout([("weights", [6, 1600])])
    let setting = try Setting(.none, layout, .messages)
    let gradient = drawGradient(count: layout.count, seed: 6, step: 0, rank: allRanks.rank)
    let end = ContinuousClock.now + .seconds(2)
    var step = 0
    repeat {
      for _ in 0..<50 {
        _ = try setting.run(gradient, step: step)
        step += 1
      }
    } while try allRanks.allReduce(ContinuousClock.now < end ? Int32(1) : 0, .max) == 1
    #expect(setting.exchange.exchangeCount == step)
  }
}
