import Buffers
import Collectives
import Foundation
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// The order in which things happen changes no bit.
@Suite(.serialized) struct TimingTests {
  /// Bits with random delays are those of the reference, by both transports, and two runs are equal.
  @Test(arguments: [ReferenceCodec.none, .oneBit(elements: nil), .oneBit(elements: 4)])
  func delaysChangeNoBit(_ codec: ReferenceCodec) throws {
    let layout = Layouts.perceptron
    var runs: [[[Float]]] = []
    for (repetition, transport) in (transports + transports).enumerated() {
      let setting = try Setting(codec, layout, transport, options: randomDelays(seed: repetition))
      var reference = ReferenceExchange(layout, codec, rankCount: allRanks.count)
      var outputs: [[Float]] = []
      for step in 0..<5 {
        let gradients = drawGradients(count: layout.count, seed: 21, step: step, rankCount: allRanks.count)
        let output = try setting.run(gradients[allRanks.rank], step: step)
        #expect(firstDifference(output, reference.run(gradients)) == nil, "\(transport), step \(step)")
        #expect(try isSameOnAllRanks(output), "\(transport), step \(step)")
        outputs.append(output)
      }
      if codec != .none && allRanks.count > 1 {
        #expect(firstDifference(setting.exchange.residual.array, reference.residuals[allRanks.rank]) == nil)
      }
      runs.append(outputs)
    }
    for run in runs.dropFirst() {
      for (found, first) in zip(run, runs[0]) { #expect(firstDifference(found, first) == nil) }
    }
  }

  /// 40 exchanges without a barrier; the gradient is overwritten with rubbish as soon as each returns.
  @Test(arguments: [ReferenceCodec.none, .oneBit(elements: nil)], transports)
  func followOneAnotherWithoutBarrier(_ codec: ReferenceCodec, _ transport: Transport) throws {
    let layout = Layouts.awkward
    let setting = try Setting(codec, layout, transport, options: randomDelays(seed: 22))
    var reference = ReferenceExchange(layout, codec, rankCount: allRanks.count)
    var random = SplitMix(23, allRanks.rank)
    for step in 0..<40 {
      let gradients = drawGradients(count: layout.count, seed: 24, step: step, rankCount: allRanks.count)
      let output = try setting.run(gradients[allRanks.rank], step: step)
      setting.gradient.values.fill(.nan)
      if random.next(below: 4) == 0 { sleepAtRandom(&random, upTo: 2000) }
      #expect(firstDifference(output, reference.run(gradients)) == nil, "step \(step)")
    }
  }

  /// Two codecs take turns on one gradient, as at the end of a warm start.
  @Test(arguments: transports) func codecsTakeTurnsOnOneGradient(_ transport: Transport) throws {
    let layout = Layouts.perceptron
    let pair: [ReferenceCodec] = [.none, .oneBit(elements: nil)]
    let hosts = try HostMap(allRanks, transport: transport)
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let exchanges = try pair.map {
      try CodedAllReduce(
        try makeCodec($0), layout: layout, gradient: gradient, options: randomDelays(seed: 25))
    }
    var references = pair.map { ReferenceExchange(layout, $0, rankCount: allRanks.count) }
    let output = FloatBuffer(count: layout.count)
    for step in 0..<40 {
      let turn = step % 7 < 4 ? step % 2 : 1
      let gradients = drawGradients(count: layout.count, seed: 26, step: step, rankCount: allRanks.count)
      gradient.values.set(gradients[allRanks.rank])
      try exchanges[turn].run(step: step, into: .buffer(output))
      gradient.values.fill(.infinity)
      #expect(firstDifference(output.array, references[turn].run(gradients)) == nil, "step \(step), \(pair[turn])")
    }
    #expect(exchanges.map(\.exchangeCount).reduce(0, +) == 40)
    let isCompressed = allRanks.count > 1
    #expect(
      !isCompressed || firstDifference(exchanges[1].residual.array, references[1].residuals[allRanks.rank]) == nil)
  }

  /// The seconds that are reported are not more than went by: work that ends a wait is no part of it.
  @Test func timesAddUp() throws {
    var options = CodedAllReduce.Options()
    options.ownerTransform = { _, _ in usleep(2000) }
    let setting = try Setting(.oneBit(elements: nil), Layouts.perceptron, .auto, options: options)
    var elapsed = Duration.zero
    for step in 0..<3 {
      let gradient = drawGradient(count: setting.layout.count, seed: 27, step: step, rank: allRanks.rank)
      // The first ranks wait for the last before they add.
      usleep(UInt32(2000 * allRanks.rank))
      let start = ContinuousClock.now
      _ = try setting.run(gradient)
      elapsed += ContinuousClock.now - start
    }
    let timing = setting.exchange.timing
    let parts = [timing.encode, timing.sum, timing.decode, timing.wait]
    #expect(parts.allSatisfy { $0 >= .zero })
    #expect(parts.reduce(.zero, +) <= elapsed)
    #expect(allRanks.count == 1 || timing.encode + timing.sum + timing.decode > .zero)
  }
}
