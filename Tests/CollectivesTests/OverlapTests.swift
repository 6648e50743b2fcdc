import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Exchanges that are under way while a gradient becomes ready: neither who drives them nor when changes a bit.
@Suite(.serialized) struct OverlapTests {
  static let codecs: [ReferenceCodec] = [.none, .oneBit(elements: nil), .oneBit(elements: 300)]
  /// Several buckets at 2 ranks, in messages as in a window; with more ranks a layout of several is large, and so is the work of the
  /// reference.
  static let manyValues = Layouts.layout(inputs: 300, hidden: allRanks.count == 2 ? [600, 600] : [100, 100], classes: 5)
  static let layouts = [Layouts.awkward, manyValues, Layouts.single, Layouts.empty]

  /// Sums appear only with the delivery, and are those of the reference, however a gradient becomes ready.
  @Test(.ranks(atMost: 4), arguments: codecs) func aGradientBecomesReadyTensorByTensor(_ codec: ReferenceCodec) throws {
    for layout in Self.layouts {
      var reference = ReferenceExchange(layout, codec, rankCount: allRanks.count)
      let steps = (0..<3).map { drawGradients(count: layout.count, seed: 61, step: $0, rankCount: allRanks.count) }
      let expected = steps.map { reference.run($0) }
      let own = steps.map { $0[allRanks.rank] }
      for overlap in [Overlap.thread, .inline, .off] {
        for transport in transports { try becomeReady(own, expected, layout, codec, overlap, transport) }
      }
    }
  }

  /// Exchanges this rank's gradients of three steps, tensor by tensor, for the sums that are expected.
  private func becomeReady(
    _ own: [[Float]], _ expected: [[Float]], _ layout: TensorLayout, _ codec: ReferenceCodec, _ overlap: Overlap,
    _ transport: Transport
  ) throws {
    let hosts = try HostMap(allRanks, transport: transport)
    let gradients = try (0..<2).map { _ in try SharedGradient(count: layout.count, hosts: hosts) }
    var options = CodedAllReduce.Options()
    // As many buckets as there may be.
    options.linkSpeed = LinkSpeed(latency: 0, bytesPerSecond: 1)
    options.decodesAhead = overlap == .thread
    let exchange = try CodedAllReduce(try makeCodec(codec), layout: layout, gradients: gradients, options: options)
    let driver = ExchangeDriver(overlap)
    var random = SplitMix(layout.count, allRanks.rank)
    for step in 0..<3 {
      let gradient = gradients[step % 2].values
      // What is not ready yet must not be read.
      gradient.fill(.nan)
      try exchange.begin(Contribution(step: step, buffer: step % 2, isReady: false))
      driver.drive(exchange)
      for tensor in layout.tensors {
        gradient.set(own[step], in: tensor.range)
        exchange.markReady(upTo: tensor.range.upperBound)
        sleepAtRandom(&random, upTo: 300)
        driver.turn()
      }
      let output = FloatBuffer(count: layout.count)
      output.fill(.nan)
      let copy = { (range: Range<Int>, sum: UnsafePointer<Float>) in output.setOnce(range, sum) }
      try driver.deliver(exchange, into: step < 2 ? .buffer(output) : .update(copy))
      #expect(
        firstDifference(output.array, expected[step]) == nil,
        "\(layout.count) values, \(overlap), \(transport), step \(step)")
    }
    #expect(exchange.nonFiniteGroups == 0)
    #expect(exchange.traffic == exchange.predictedTraffic * 3)
  }

  /// A discarded exchange leaves no trace but its traffic.
  @Test(arguments: codecs, [Overlap.thread, .inline, .off])
  func whatIsDiscardedLeavesNoTrace(_ codec: ReferenceCodec, _ overlap: Overlap) throws {
    let layout = Self.manyValues
    for transport in transports {
      var options = CodedAllReduce.Options()
      options.isRestorable = true
      options.decodesAhead = overlap == .thread
      let setting = try Setting(codec, layout, transport, options: options)
      let driver = ExchangeDriver(overlap)
      var reference = ReferenceExchange(layout, codec, rankCount: allRanks.count)
      for step in 0..<5 {
        var values = drawGradients(count: layout.count, seed: 62, step: step, rankCount: allRanks.count)
        let isDiscarded = step % 3 == 1
        if isDiscarded && allRanks.rank == allRanks.count - 1 { values[allRanks.rank][7] = .nan }
        setting.gradient.values.set(values[allRanks.rank])
        try setting.exchange.begin(Contribution(step: step, isReady: false))
        driver.drive(setting.exchange)
        setting.exchange.markReady(upTo: layout.count / 2)
        driver.turn()
        setting.exchange.markReady(upTo: layout.count)
        driver.turn()
        if isDiscarded {
          try driver.discard(setting.exchange)
          continue
        }
        let output = FloatBuffer(count: layout.count)
        try driver.deliver(setting.exchange, into: .buffer(output))
        #expect(firstDifference(output.array, reference.run(values)) == nil, "step \(step)")
      }
      #expect(setting.exchange.nonFiniteGroups == 0)
      if codec != .none && allRanks.count > 1 {
        #expect(firstDifference(setting.exchange.residual.array, reference.residuals[allRanks.rank]) == nil)
      }
    }
  }

  /// An owner's transform sees every value of the sums once, before they are encoded.
  @Test(arguments: [ReferenceCodec.none, .oneBit(elements: nil)], transports)
  func ownersTransformTheirSums(_ codec: ReferenceCodec, _ transport: Transport) throws {
    let layout = Self.layouts[0]
    let seen = FloatBuffer(count: layout.count)
    var options = CodedAllReduce.Options()
    options.ownerTransform = { range, values in
      for (offset, index) in range.enumerated() {
        seen[index] += 1
        values[offset] *= 4
      }
    }
    let setting = try Setting(codec, layout, transport, options: options)
    let values = drawGradients(count: layout.count, seed: 63, step: 0, rankCount: allRanks.count)
    let found = try setting.run(values[allRanks.rank])
    var reference = ReferenceExchange(layout, codec, rankCount: allRanks.count)
    // A power of two changes no bit of a sum's code.
    #expect(firstDifference(found, reference.run(values).map { $0 * 4 }) == nil)
    let counts = try gatherAll(seen.array)
    for index in 0..<layout.count {
      let count = counts.reduce(0) { $0 + $1[index] }
      if count != 1 { Issue.record("value \(index) was transformed \(count) times") }
    }
  }

  /// Exchanges by several codecs have the same owners where they are told so, and the same sums as otherwise.
  @Test(arguments: transports) func floatsAndCodesHaveTheSameOwners(_ transport: Transport) throws {
    for layout in Self.layouts + [Layouts.awkward, Layouts.manyGroups] {
      for codec in [ReferenceCodec.oneBit(elements: nil), .oneBit(elements: 100)] {
        let coded = try Setting(codec, layout, transport)
        var options = CodedAllReduce.Options()
        options.ownership = try makeCodec(codec)
        let floats = try Setting(.none, layout, transport, options: options)
        #expect(floats.exchange.ownedRanges == coded.exchange.ownedRanges)
        let values = drawGradients(count: layout.count, seed: 65, step: 0, rankCount: allRanks.count)
        var reference = ReferenceExchange(layout, .none, rankCount: allRanks.count)
        #expect(firstDifference(try floats.run(values[allRanks.rank]), reference.run(values)) == nil)
        let (traffic, predicted) = (floats.exchange.traffic, floats.exchange.predictedTraffic)
        #expect(traffic.bytesSent == predicted.bytesSent && traffic.messagesSent == predicted.messagesSent)
      }
    }
  }

  /// The observer is told of every unit of work, in order.
  @Test(arguments: transports) func theObserverSeesAllWork(_ transport: Transport) throws {
    nonisolated(unsafe) var events: [ExchangeEvent] = []
    var options = CodedAllReduce.Options()
    options.observer = { events.append($0) }
    let layout = Self.manyValues
    let setting = try Setting(.oneBit(elements: nil), layout, transport, options: options)
    _ = try setting.run(drawGradient(count: layout.count, seed: 64, step: 0, rank: allRanks.rank))
    guard allRanks.count > 1 else { return }
    func elements(_ kind: ExchangeEvent.Kind) -> Int { events.filter { $0.kind == kind }.reduce(0) { $0 + $1.elements.count } }
    #expect(elements(.encode) == layout.count && elements(.decode) == layout.count)
    #expect(elements(.sum) == setting.exchange.ownedRanges.reduce(0) { $0 + $1.count })
    // A send is a part of the unit that is told after it.
    let sent = events.filter { $0.kind == .send }
    #expect(sent.allSatisfy { send in events.contains { $0.kind != .send && $0.start <= send.start && send.end <= $0.end } })
    #expect(sent.count == (transport == .messages ? setting.exchange.traffic.messagesSent : 0))
    #expect(sent.reduce(0) { $0 + $1.byteCount } == setting.exchange.traffic.networkBytesSent)
    let units = events.filter { $0.kind != .send }
    for (event, next) in zip(units, units.dropFirst()) { #expect(event.start <= event.end && event.end <= next.start) }
  }
}
