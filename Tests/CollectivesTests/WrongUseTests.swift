import Buffers
import Codecs
import Collectives
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// A caller's mistakes end the program.
@Suite(.outsideMPI) struct WrongUseTests {
  @Test func gradientOfAnotherLength() async {
    await #expect(processExitsWith: .failure) {
      let gradient = try SharedGradient(count: 10, hosts: try HostMap(allRanks))
      _ = try CodedAllReduce(OneBit(), layout: TensorLayout([("weights", [11])]), gradient: gradient)
    }
  }

  @Test func destinationOfAnotherLength() async {
    await #expect(processExitsWith: .failure) {
      let setting = try Setting(.none, TensorLayout([("weights", [11])]), .auto)
      try setting.exchange.run(step: 0, into: .buffer(FloatBuffer(count: 12)))
    }
  }

  @Test func tooLongARecord() async {
    await #expect(processExitsWith: .failure) {
      let records = try RecordExchange(try HostMap(allRanks))
      _ = try records.gather(Array(repeating: 1, count: RecordExchange.usualCapacity + 1), activity: "a test")
    }
  }

  /// The same calls, without the mistakes, succeed: it is these that end a process.
  @Test func rightUse() async {
    await #expect(processExitsWith: .success) {
      let setting = try Setting(.oneBit(elements: nil), TensorLayout([("weights", [11])]), .auto)
      try setting.exchange.run(step: 0, into: .buffer(FloatBuffer(count: 11)))
      let records = try RecordExchange(setting.hosts)
      _ = try records.gather(Array(repeating: 1, count: RecordExchange.usualCapacity), activity: "a test")
    }
  }
}
