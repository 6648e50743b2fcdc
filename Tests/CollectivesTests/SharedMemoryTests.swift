import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Memory that ranks share for a while is given back, and not only at the end of the job.
@Suite(.serialized) struct SharedMemoryTests {
  /// The bytes of addresses that this process uses.
  private var mappedByteCount: Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return (text.split(separator: " ").first.flatMap { Int($0) } ?? 0) * 4096
  }

  @Test(.ranks(atLeast: 2)) func whatWasSharedIsGivenBack() throws {
    let hosts = try HostMap(allRanks)
    let layout = TensorLayout([("weights", [1024, 1024])])
    func exchange() throws {
      try hosts.releasingMemory {
        let gradient = try SharedGradient(count: layout.count, hosts: hosts)
        let exchange = try CodedAllReduce(OneBit(), layout: layout, gradient: gradient)
        // A scope inside another gives back its own.
        try hosts.releasingMemory { _ = try SharedGradient(count: layout.count, hosts: hosts) }
        gradient.values[7] = Float(allRanks.rank + 1)
        var sum: Float = 0
        try exchange.run(
          step: 0, into: .update { range, values in if range.contains(7) { sum = values[7 - range.lowerBound] } })
        #expect(sum > 0)
      }
    }
    // What is made before stays.
    let kept = try SharedGradient(count: 1000, hosts: hosts)
    kept.values[999] = 3
    try exchange()
    let before = mappedByteCount
    for _ in 0..<20 { try exchange() }
    // Each rank maps 4 MiB of every other's gradient, twice in each round.
    #expect(mappedByteCount - before < 40 << 20)
    #expect(kept.values[999] == 3)
  }

  /// Where one host of several has no memory, the others give theirs back.
  @Test(.ranks(atLeast: 2)) func moreThanThereIsIsRefusedTogether() throws {
    let hosts = try HostMap(allRanks)
    let error = #expect(throws: ExchangeError.self) { _ = try SharedGradient(count: 1 << 44, hosts: hosts) }
    #expect(error?.exitStatus == 74)
    _ = try SharedGradient(count: 10, hosts: hosts)
  }
}
