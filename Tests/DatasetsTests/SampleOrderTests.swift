import Buffers
import Datasets
import Testing

@Suite struct SampleOrderTests {
  @Test(arguments: [0, 1, 2, 31, 1000]) func isAPermutation(count: Int) {
    let order = SampleOrder(count: count, seed: 7).epoch(3)
    #expect(order.sorted() == (0..<Int32(count)).map { $0 })
  }

  @Test func followsFromSeedAndEpochAlone() {
    let order = SampleOrder(count: 500, seed: 1)
    #expect(order.epoch(2) == SampleOrder(count: 500, seed: 1).epoch(2))
    #expect(order.epoch(2) != order.epoch(3))
    #expect(order.epoch(2) != SampleOrder(count: 500, seed: 2).epoch(2))
  }

  @Test func sortsByThePhiloxKeyOfEpochAndSample() {
    let seed: UInt64 = 0x1234_5678_9ABC_DEF0
    let random = Philox(seed: seed, purpose: .dataOrder, step: 5)
    let keys = (0..<100).map { UInt64(random.word(4 * $0)) << 32 + UInt64(random.word(4 * $0 + 1)) }
    let order = SampleOrder(count: 100, seed: seed).epoch(5).map(Int.init)
    #expect(zip(order, order.dropFirst()).allSatisfy { keys[$0] < keys[$1] })
  }

  @Test func isSpreadEvenly() {
    // The mean place of the first half of the samples is that of all, within five standard errors (28.9 each).
    let order = SampleOrder(count: 10_000, seed: 3).epoch(0)
    let places = order.enumerated().filter { $0.element < 5000 }.map { Double($0.offset) }
    let mean = places.reduce(0, +) / 5000
    #expect(abs(mean - 4999.5) < 144)
  }
}
