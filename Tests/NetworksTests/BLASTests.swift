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

  /// What threads need is had before the first product, or refused; an endless search for it must not begin.
  @Test func moreThreadsThanThereAreAddressesForAreRefused() throws {
    let error = #expect(throws: OutOfMemory.self) { try prepareBLAS(threads: 1 << 24) }
    #expect(error?.description.contains("the BLAS with 16777216 threads needs 2.4 PB") ?? false)
    try prepareBLAS(threads: 1)
  }

  @Test func kernelHasAName() { #expect(!blasKernelName.isEmpty) }
}
