import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// The exchange against the whole of it in plain code: outputs, both residuals and counts, bit for bit.
@Suite(.serialized) struct ExchangeTests {
  struct Case: CustomTestStringConvertible, Sendable {
    let name: String
    let layout: TensorLayout
    let codec: ReferenceCodec
    let transport: Transport
    var testDescription: String { "\(name) \(codec.specification) \(transport)" }

    static let all: [Case] =
      cases(Layouts.all, [.none, .oneBit(elements: nil)])
      + cases([("awkward", Layouts.awkward)], [.oneBit(elements: 100), .oneBit(elements: 4)])
      + cases([("manyGroups", Layouts.manyGroups)], [.oneBit(elements: 4)])

    private static func cases(_ layouts: [(name: String, layout: TensorLayout)], _ codecs: [ReferenceCodec]) -> [Case] {
      layouts.flatMap { name, layout in
        codecs.flatMap { codec in
          transports.map { Case(name: name, layout: layout, codec: codec, transport: $0) }
        }
      }
    }
  }

  @Test(arguments: Case.all) func equalsTheReference(_ test: Case) throws {
    let setting = try Setting(test.codec, test.layout, test.transport)
    let (rank, rankCount) = (setting.world.rank, setting.world.count)
    var reference = ReferenceExchange(test.layout, test.codec, rankCount: rankCount)
    let exchange = setting.exchange
    let owned = reference.geometry.owned(by: rank)
    #expect(exchange.ownedRanges.flatMap { Array($0) } == owned)
    for (offset, index) in owned.enumerated() where exchange.ownedOffset(of: index) != offset {
      Issue.record("value \(index) lies at \(String(describing: exchange.ownedOffset(of: index))), not at \(offset)")
    }
    for step in 0..<3 {
      let gradients = drawGradients(count: test.layout.count, seed: 1, step: step, rankCount: rankCount)
      let expected = reference.run(gradients)
      let found = try setting.run(gradients[rank], step: step)
      #expect(firstDifference(found, expected) == nil, "step \(step)")
      #expect(try isSameOnAllRanks(found), "step \(step)")
      #expect(firstDifference(setting.gradient.values.array, gradients[rank]) == nil, "the gradient was written")
      #expect(exchange.exchangeCount == step + 1)
      if test.codec == .none || rankCount == 1 {
        #expect(exchange.residual.count == 0 && exchange.ownerResidual.count == 0)
        continue
      }
      #expect(exchange.residual.count == test.layout.count && exchange.ownerResidual.count == owned.count)
      #expect(firstDifference(exchange.residual.array, reference.residuals[rank]) == nil, "step \(step)")
      #expect(firstDifference(exchange.ownerResidual.array, owned.map { reference.ownerResidual[$0] }) == nil, "step \(step)")
    }
    #expect(exchange.nonFiniteGroups == 0)
  }

  /// Without a codec the sum is that of a loop over ranks.
  @Test(arguments: transports) func noneIsTheOrderedSum(_ transport: Transport) throws {
    // 131 072 floats and more for each rank: several segments in the window as well as in messages.
    let count = allRanks.count <= 3 ? 300_007 * allRanks.count : 200_003
    let layout = TensorLayout([("weights", [count])])
    let setting = try Setting(.none, layout, transport)
    let gradients = drawGradients(count: count, seed: 2, step: 0, rankCount: setting.world.count)
    var expected = gradients[0]
    for gradient in gradients.dropFirst() {
      for index in 0..<count { expected[index] += gradient[index] }
    }
    #expect(firstDifference(try setting.run(gradients[setting.world.rank]), expected) == nil)
  }

  /// One rank gets its own gradient back, whatever the codec, down to the sign of zero.
  @Test(.enabled(if: allRanks.count == 1), arguments: testedCodecs)
  func oneRankIsPassedThrough(_ codec: ReferenceCodec) throws {
    let setting = try Setting(codec, Layouts.awkward, .auto)
    for step in 0..<3 {
      let gradient = drawGradient(count: Layouts.awkward.count, seed: 3, step: step, rank: 0)
      #expect(gradient.contains { $0.bitPattern == 0x8000_0000 })
      #expect(firstDifference(try setting.run(gradient, step: step), gradient) == nil)
    }
    #expect(setting.exchange.traffic == Traffic())
    #expect(setting.exchange.predictedTraffic == Traffic())
    #expect(setting.exchange.residual.values.allSatisfy { $0 == 0 })
  }

  /// The closure gets every value once, and the same values as a buffer.
  @Test(arguments: testedCodecs, transports) func updateSeesEveryValueOnce(_ codec: ReferenceCodec, _ transport: Transport)
    throws
  {
    let layout = Layouts.awkward
    let setting = try Setting(codec, layout, transport)
    var reference = ReferenceExchange(layout, codec, rankCount: setting.world.count)
    for step in 0..<2 {
      let gradients = drawGradients(count: layout.count, seed: 4, step: step, rankCount: setting.world.count)
      setting.gradient.values.set(gradients[setting.world.rank])
      var visits = [Int](repeating: 0, count: layout.count)
      var found = [Float](repeating: .nan, count: layout.count)
      try setting.exchange.run(
        step: step, samples: 1,
        into: .update { range, values in
          for (offset, index) in range.enumerated() {
            visits[index] += 1
            found[index] = values[offset]
          }
        })
      #expect(visits.allSatisfy { $0 == 1 })
      #expect(firstDifference(found, reference.run(gradients)) == nil)
    }
  }

  /// Several layouts' exchanges may exist side by side and be used in turn.
  @Test(arguments: transports) func exchangesDoNotDisturbEachOther(_ transport: Transport) throws {
    let codec = ReferenceCodec.oneBit(elements: 32)
    let settings = try [Layouts.awkward, Layouts.perceptron, Layouts.threeRows].map { try Setting(codec, $0, transport) }
    var references = settings.map { ReferenceExchange($0.layout, codec, rankCount: $0.world.count) }
    for step in 0..<6 {
      let index = [0, 2, 1, 1, 0, 2][step]
      let setting = settings[index]
      let gradients = drawGradients(count: setting.layout.count, seed: 6, step: step, rankCount: setting.world.count)
      let found = try setting.run(gradients[setting.world.rank], step: step)
      #expect(firstDifference(found, references[index].run(gradients)) == nil)
    }
  }

  /// In place, into a buffer or piece by piece: the same bits reach every rank, and the residuals do not know the difference.
  @Test(arguments: Case.all.filter { $0.name == "awkward" }) func everyDestinationGetsTheSame(_ test: Case) throws {
    let setting = try Setting(test.codec, test.layout, test.transport)
    let (rank, rankCount) = (setting.world.rank, setting.world.count)
    var reference = ReferenceExchange(test.layout, test.codec, rankCount: rankCount)
    for step in 0..<4 {
      let gradients = drawGradients(count: test.layout.count, seed: 4, step: step, rankCount: rankCount)
      let expected = reference.run(gradients)
      setting.gradient.values.set(gradients[rank])
      if step.isMultiple(of: 2) {
        try setting.exchange.run(step: step, into: .inPlace)
        #expect(firstDifference(setting.gradient.values.array, expected) == nil, "in place, step \(step)")
      } else {
        let pieces = FloatBuffer(count: test.layout.count)
        pieces.fill(.nan)
        try setting.exchange.run(
          step: step,
          into: .update { range, values in
            for (offset, index) in range.enumerated() {
              // Every value comes once.
              if pieces[index].isNaN { pieces[index] = values[offset] } else { pieces[index] = .infinity }
            }
          })
        #expect(firstDifference(pieces.array, expected) == nil, "piece by piece, step \(step)")
      }
    }
  }
}
