import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// A rank that stays away or is out of step is noticed and named, and nothing hangs.
///
/// A missing rank waits at a barrier while the others wait for it; messages are so short that they leave without a receiver.
@Suite(.serialized, .enabled(if: allRanks.count > 1)) struct FaultTests {
  /// Two short groups for every rank, whatever the codec: every rank owns something, and hears from every other one.
  private static let layout = TensorLayout((0..<2 * allRanks.count).map { ("vector.\($0)", [16]) })
  private let limit = Duration.milliseconds(400)

  /// Runs `body` on all ranks but `absent`; what it throws.
  private func without(_ absent: Int, _ body: () throws -> Void) throws -> (error: ExchangeError?, elapsed: Duration) {
    try allRanks.barrier()
    let start = ContinuousClock.now
    var error: ExchangeError?
    if allRanks.rank != absent {
      do { try body() } catch let found as ExchangeError { error = found }
    }
    let elapsed = ContinuousClock.now - start
    try allRanks.barrier()
    return (error, elapsed)
  }

  private func expectTimeOut(
    _ result: (error: ExchangeError?, elapsed: Duration), absent: Int, hosts: HostMap, activity: String? = nil
  ) {
    guard allRanks.rank != absent else { return }
    guard case .timedOut(let found, let awaited, let seconds)? = result.error else {
      Issue.record("no time-out but \(String(describing: result.error))")
      return
    }
    #expect(awaited.contains(hosts.name(of: absent)), "awaited: \(awaited)")
    #expect(!awaited.contains(hosts.name(of: allRanks.rank)))
    #expect(abs(seconds - 0.4) < 1.5)
    #expect(result.elapsed >= limit && result.elapsed < limit + .seconds(4))
    let text = "\(result.error!)"
    #expect(text.contains(hosts.name(of: absent)) && result.error!.exitStatus == 75)
    if let activity { #expect(found.contains(activity) && text.contains(activity)) }
  }

  @Test(.ranks(only: 3), arguments: [ReferenceCodec.none, .oneBit(elements: nil)], transports)
  func exchangeNamesTheMissing(_ codec: ReferenceCodec, _ transport: Transport) throws {
    for absent in Set([0, allRanks.count - 1]).sorted() {
      let layout = Self.layout
      let setting = try Setting(codec, layout, transport, patience: Patience(limit: limit))
      let result = try without(absent) {
        defer { setting.exchange.abandon() }
        _ = try setting.run(drawGradient(count: layout.count, seed: 71, step: 0, rank: allRanks.rank))
      }
      expectTimeOut(result, absent: absent, hosts: setting.hosts)
    }
  }

  /// A thread that has met the error while the model computed hands it over with the exchange.
  @Test(.ranks(only: 3), arguments: transports) func whatAThreadMeetsIsThrownAtTheDelivery(_ transport: Transport) throws {
    let setting = try Setting(.oneBit(elements: nil), Self.layout, transport, patience: Patience(limit: limit))
    let driver = ExchangeDriver(.thread)
    let result = try without(0) {
      defer { driver.abandon() }
      try setting.exchange.begin(Contribution(step: 0))
      driver.drive(setting.exchange)
      Thread.sleep(forTimeInterval: 1.2)
      try driver.deliver(setting.exchange, into: .update { _, _ in })
    }
    expectTimeOut(result, absent: 0, hosts: setting.hosts)
  }

  /// Rank 0 misses the second exchange: everything that the first one left behind is in order until then.
  @Test(arguments: transports) func aLaterExchangeNamesTheMissing(_ transport: Transport) throws {
    let layout = Self.layout
    let setting = try Setting(.oneBit(elements: nil), layout, transport, patience: Patience(limit: limit))
    _ = try setting.run(drawGradient(count: layout.count, seed: 72, step: 0, rank: allRanks.rank))
    let result = try without(0) {
      defer { setting.exchange.abandon() }
      _ = try setting.run(drawGradient(count: layout.count, seed: 72, step: 1, rank: allRanks.rank), step: 1)
    }
    expectTimeOut(result, absent: 0, hosts: setting.hosts)
  }

  @Test(.ranks(only: 3), arguments: transports) func recordsNameTheMissing(_ transport: Transport) throws {
    let hosts = try HostMap(allRanks, transport: transport, patience: Patience(limit: limit))
    for absent in Set([0, allRanks.count - 1]).sorted() {
      let records = try RecordExchange(hosts)
      _ = try records.gather([1], activity: "breakfast")
      let result = try without(absent) {
        defer { records.abandon() }
        _ = try records.gather([2], activity: "the weather")
      }
      expectTimeOut(result, absent: absent, hosts: hosts, activity: "the weather")
      if case .timedOut(_, let awaited, _)? = result.error { #expect(awaited == [hosts.name(of: absent)]) }
    }
  }

  /// Slowness is not absence: a rank that moves again within the limit is waited for.
  @Test(arguments: transports) func slowRanksAreWaitedFor(_ transport: Transport) throws {
    let codec = ReferenceCodec.oneBit(elements: nil)
    let setting = try Setting(codec, Layouts.threeRows, transport, patience: Patience(limit: .seconds(20)))
    var reference = ReferenceExchange(Layouts.threeRows, codec, rankCount: allRanks.count)
    let gradients = drawGradients(count: Layouts.threeRows.count, seed: 73, step: 0, rankCount: allRanks.count)
    if allRanks.rank == allRanks.count - 1 { usleep(300_000) }
    #expect(firstDifference(try setting.run(gradients[allRanks.rank]), reference.run(gradients)) == nil)
    if allRanks.rank == 0 { #expect(setting.exchange.timing.wait > .milliseconds(100)) }
  }

  /// Whom ranks wait for is told before they give up, once in each wait.
  @Test(.ranks(only: 3)) func waitsAreTold() throws {
    let told = Told()
    let hosts = try HostMap(allRanks, transport: .messages, patience: told.patience(limit: .seconds(60)))
    let records = try RecordExchange(hosts)
    let slowest = allRanks.count - 1
    for round in 1...2 {
      try allRanks.barrier()
      // The second comes longer after the first than notices are apart.
      if allRanks.rank == slowest { usleep(900_000) }
      _ = try records.gather([1], activity: "the weather")
      guard allRanks.rank != slowest else { continue }
      // Others may be late as well, on a busy machine; whoever is there by then is not named again.
      #expect(told.names.count >= round && told.names.last == [hosts.name(of: slowest)], "\(told.names)")
    }
  }

  /// A rank that is at another step, or speaks another codec, is noticed by the header of its first message.
  @Test(arguments: ["step", "codec", "samples"]) func ranksOutOfStepAreNoticed(_ what: String) throws {
    let hosts = try HostMap(allRanks, transport: .messages, patience: Patience(limit: limit))
    let layout = TensorLayout([("vector", [64])])
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let odd = allRanks.rank == allRanks.count - 1
    // Both cut the vector into one group of 64 values, in 16 bytes.
    let codec = try codecs.make(odd && what == "codec" ? "one-bit:group=64" : "one-bit:group=row")
    let exchange = try CodedAllReduce(codec, layout: layout, gradient: gradient)
    let output = FloatBuffer(count: layout.count)
    var error: ExchangeError?
    do {
      try exchange.run(
        step: odd && what == "step" ? 8 : 7, samples: odd && what == "samples" ? 255 : 256, into: .buffer(output))
    } catch let found as ExchangeError { error = found }
    exchange.abandon()
    try allRanks.barrier()
    // The owner of the only shard meets the odd one's message; the odd one meets the owner's, or nobody's.
    let owner = exchange.geometry.segments.firstIndex { !$0.isEmpty }!
    if allRanks.rank == owner {
      if case .unexpectedMessage(let sender, let detail)? = error {
        let expected = odd ? 0..<allRanks.count - 1 : allRanks.count - 1..<allRanks.count
        #expect(expected.contains { hosts.name(of: $0) == sender }, "\(sender): \(detail)")
        #expect(!detail.isEmpty && "\(error!)".contains(sender) && error!.exitStatus == 70)
      } else {
        Issue.record("\(what): the owner noticed \(String(describing: error))")
      }
    } else {
      #expect(error != nil, "nothing can be exchanged, but rank \(allRanks.rank) noticed nothing")
    }
  }

  /// A rank that sends bytes that are no code is noticed by who decodes them, before anything is.
  @Test func bytesThatAreNoCodeAreNoticed() throws {
    let hosts = try HostMap(allRanks, transport: .messages, patience: Patience(limit: limit))
    let layout = TensorLayout([("vector", [64])])
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let honest = try codecs.make("chunk-top-k:k=1/8")
    let geometry = ExchangeGeometry(layout, codec: honest, rankCount: allRanks.count, rule: .messages)
    let owner = geometry.segments.firstIndex { !$0.isEmpty }!
    let odd = (owner + 1) % allRanks.count
    let exchange = try CodedAllReduce(
      allRanks.rank == odd ? Damaged(base: honest) : honest, layout: layout, gradient: gradient)
    let output = FloatBuffer(count: layout.count)
    var error: ExchangeError?
    do { try exchange.run(step: 0, into: .buffer(output)) } catch let found as ExchangeError { error = found }
    exchange.abandon()
    try allRanks.barrier()
    #expect(error != nil, "nothing can be exchanged, but rank \(allRanks.rank) noticed nothing")
    guard allRanks.rank == owner else { return }
    if case .unexpectedMessage(let sender, let detail)? = error {
      #expect(sender == hosts.name(of: odd) && detail.contains("no codes of chunk-top-k"), "\(sender): \(detail)")
    } else {
      Issue.record("the owner noticed \(String(describing: error))")
    }
  }
}
