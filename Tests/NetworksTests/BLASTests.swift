import Buffers
import Networks
import Testing

@Suite struct BLASTests {
  /// With one thread, products large enough to be cut into blocks have the same bits every time, in every network.
  @Test func largeProductsRepeatBitForBit() throws {
    setBLASThreads(1)
    let batch = Minibatch.random(count: 130, featureCount: 300, classCount: 10)
    let hashes = try (0..<3).map { _ in
      let started = try Started("mlp:515,259", inputs: 300, classes: 10)
      try started.run(batch, scale: 1 / 130)
      return started.gradient.hash()
    }
    #expect(hashes[0] == hashes[1] && hashes[1] == hashes[2])
  }

  @Test func kernelHasAName() { #expect(!blasKernelName.isEmpty) }
}
