import Buffers
import Networks
import Testing

@Suite struct ProductTests {
  /// With one thread, products large enough to be cut into blocks have the same bits every time, in every network.
  @Test func largeProductsRepeatBitForBit() throws {
    setProductThreads(1)
    let batch = Minibatch.random(count: 130, featureCount: 300, classCount: 10)
    let hashes = try (0..<3).map { _ in
      let started = try Started("mlp:515,259", inputs: 300, classes: 10)
      try started.run(batch, scale: 1 / 130)
      return started.gradient.hash()
    }
    #expect(hashes[0] == hashes[1] && hashes[1] == hashes[2])
  }

  /// What threads need is had before the first product, or refused.
  @Test func moreThreadsThanThereAreAddressesForAreRefused() throws {
    let error = #expect(throws: OutOfMemory.self) { try prepareProducts(threads: 1 << 24) }
    #expect(
      error?.description.contains("a matrix product by 16777216 threads needs 281 TB") ?? false, "\(String(describing: error))")
    try prepareProducts(threads: 1)
  }

  /// The code is that of the processor.
  @Test func instructionSetHasAName() {
    #expect(!productInstructionSet.isEmpty && oneDNNDescription.contains(", \(productInstructionSet), "))
  }
}
