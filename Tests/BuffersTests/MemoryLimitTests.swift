import Buffers
import Testing

/// What can be had of memory, and how that is said.
@Suite struct MemoryLimitTests {
  @Test func bytesArePrintedForPeople() {
    let texts = [
      (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (9_949, "9.9 kB"), (9_951, "10 kB"), (272_400_000, "272 MB"),
      (999_600_000, "1.0 GB"), (4_000_000_000_000_000, "4.0 PB"), (Int.max, "9.2 EB"),
    ]
    for (count, text) in texts { #expect(MemoryLimit.text(count) == text) }
  }

  @Test func whatNoAddressesHoldIsRefused() {
    #expect(MemoryLimit.allows(byteCount: 0) && MemoryLimit.allows(byteCount: 1 << 20))
    #expect(!MemoryLimit.allows(byteCount: 1 << 60))
    let error = #expect(throws: OutOfMemory.self) { try MemoryLimit.require(1 << 60, for: "the momentum") }
    #expect(error?.description.hasPrefix("not enough memory: the momentum needs 1.2 EB") ?? false)
    #expect(error?.exitStatus == 74)
  }
}
