import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// The largest values of chunks through the whole exchange: what ranks and owners keep, and both divisors.
@Suite(.serialized) struct ChunkTopKExchangeTests {
  /// An exchange of `layout` by `codec`.
  private func exchange(_ keys: String, _ layout: TensorLayout, _ transport: Transport) throws -> (
    gradient: SharedGradient, exchange: CodedAllReduce
  ) {
    let gradient = try SharedGradient(count: layout.count, hosts: try HostMap(allRanks, transport: transport))
    let exchange = try CodedAllReduce(codecs.make("chunk-top-k:\(keys)"), layout: layout, gradient: gradient)
    return (gradient, exchange)
  }

  private func run(_ values: [Float], step: Int, _ parts: (gradient: SharedGradient, exchange: CodedAllReduce)) throws
    -> [Float]
  {
    parts.gradient.values.set(values)
    let output = FloatBuffer(count: values.count)
    output.fill(.nan)
    try parts.exchange.run(step: step, samples: 8, into: .buffer(output))
    return output.array
  }

  /// Frontier F1.6: Ψ = (4, 1, 0, −2) and (1, 3, 0, 2), k = 1, β = ½.
  @Test(.ranks(only: 2), arguments: ["ranks", "senders"], transports)
  func traceOfTheGuide(_ divisor: String, _ transport: Transport) throws {
    let layout = TensorLayout([("weights", [16])])
    let parts = try exchange(
      "chunk=16,k=1,down=2,values=float,decay=0.5,divide=\(divisor)", layout, transport)
    let zeros = [Float](repeating: 0, count: 12)
    let contributions: [[Float]] = [[4, 1, 0, -2] + zeros, [1, 3, 0, 2] + zeros]
    let sum = try run(contributions[allRanks.rank], step: 0, parts)
    #expect(sum.map { -$0 / 2 } == (divisor == "ranks" ? [-2, -1.5, 0, 0] : [-4, -3, 0, 0]) + zeros)
    #expect(parts.exchange.residual.array == ([[0, 1, 0, -2], [1, 0, 0, 2]] as [[Float]])[allRanks.rank] + zeros)
    #expect(parts.exchange.ownerResidual.values.allSatisfy { $0 == 0 })
    // Half of what stayed comes back.
    _ = try run([Float](repeating: 0, count: 16), step: 1, parts)
    #expect(parts.exchange.residual.array == ([[0, 0.5, 0, 0], [0.5, 0, 0, 0]] as [[Float]])[allRanks.rank] + zeros)
  }

  /// All ranks in plain code, bit for bit: residuals that fade, owners that keep all, sums that are divided by either.
  @Test(arguments: ["decay=0.5", "decay=0.95,divide=senders", "down=1/3,divide=senders", "down=1/16,index=gaps"], transports)
  func equalsPlainCode(_ keys: String, _ transport: Transport) throws {
    let layout = TensorLayout([("weights", [9, 50]), ("biases", [9]), ("scale", [1]), ("none", [0])])
    let parts = try exchange("chunk=64,k=1/8,values=float,\(keys)", layout, transport)
    let rankCount = allRanks.count
    let specification = try Specification(parts.exchange.specification)
    let (beta, isBySenders) = (Float(specification.options["decay"]!)!, specification.options["divide"] == "senders")
    let down = Amount(specification.options["down"]!)!.count(of: 64)
    var residuals = Array(repeating: [Float](repeating: 0, count: layout.count), count: rankCount)
    var ownerResidual = residuals[0]
    for step in 0..<4 {
      let gradients = drawGradients(count: layout.count, seed: 31, step: step, rankCount: rankCount)
      let found = try run(gradients[allRanks.rank], step: step, parts)
      var expected = gradients[0]
      for chunk in Grouping.elements(64).groups(of: layout) where rankCount > 1 {
        func transfer(_ values: [Float], _ k: Int, _ beta: Float, _ residual: inout [Float]) -> [Float] {
          let v = zip(values, residual[chunk]).map { ($0 + beta * $1) + 0 }
          var arrived = [Float](repeating: 0, count: v.count)
          let isRaw = parts.exchange.codec.isRaw(count: v.count)
          for place in isRaw ? Array(v.indices) : largestPlaces(v, max(1, (k * v.count + 63) / 64)) {
            arrived[place] = v[place]
          }
          residual.replaceSubrange(chunk, with: zip(v, arrived).map { $0 - $1 })
          return arrived
        }
        let arrived = (0..<rankCount).map { transfer(Array(gradients[$0][chunk]), 8, beta, &residuals[$0]) }
        let isRaw = parts.exchange.codec.isRaw(count: chunk.count)
        let sums = (0..<chunk.count).map { i -> Float in
          let sum = arrived.reduce(Float(0)) { $0 + $1[i] }
          let senders = arrived.count { $0[i] != 0 }
          return isBySenders && !isRaw && senders > 0 ? sum * (Float(rankCount) / Float(senders)) : sum
        }
        expected.replaceSubrange(chunk, with: transfer(sums, down, 1, &ownerResidual))
      }
      #expect(firstDifference(found.map { $0 + 0 }, expected.map { $0 + 0 }) == nil, "\(keys), step \(step)")
      #expect(try isSameOnAllRanks(found))
      guard rankCount > 1 else { continue }
      #expect(firstDifference(parts.exchange.residual.array, residuals[allRanks.rank]) == nil, "\(keys), step \(step)")
      for index in 0..<layout.count {
        guard let place = parts.exchange.ownedOffset(of: index) else { continue }
        #expect(parts.exchange.ownerResidual[place].bitPattern == ownerResidual[index].bitPattern)
      }
    }
    let most = parts.exchange.predictedTraffic * 4
    #expect(parts.exchange.predictsAtMost && parts.exchange.traffic.bytesSent <= most.bytesSent)
    #expect(parts.exchange.traffic.messagesSent == most.messagesSent)
  }

  /// What is sent and what stays is what was given, to rounding: over ranks, owners and steps, however the values are written.
  @Test(.ranks(atMost: 4), arguments: ["sign", "two", "bf16"])
  func nothingIsLost(_ values: String) throws {
    let layout = TensorLayout([("weights", [20, 50]), ("biases", [20])])
    let parts = try exchange("chunk=100,k=1/10,values=\(values)", layout, .auto)
    #expect(try loss(of: parts.exchange, parts.gradient, count: layout.count, seed: 33) < 1e-3)
    #expect(allRanks.count == 1 || parts.exchange.residual.values.contains { $0.magnitude > 0.01 })
  }

  /// One value in 64 by a sign takes 140 times fewer bytes than floats, headers and indices counted.
  @Test(.ranks(atMost: 4), .enabled(if: allRanks.count > 1), arguments: transports)
  func bytesOfARound(_ transport: Transport) throws {
    let layout = TensorLayout([("weights", [512, 784]), ("biases", [512])])
    let own = drawGradient(count: layout.count, seed: 34, step: 0, rank: allRanks.rank)
    let coded = try exchange("k=1/64", layout, transport)
    _ = try run(own, step: 0, coded)
    let gradient = try SharedGradient(count: layout.count, hosts: try HostMap(allRanks, transport: transport))
    let plain = try CodedAllReduce(codecs.make("none"), layout: layout, gradient: gradient)
    _ = try run(own, step: 0, (gradient, plain))
    var sent = [coded.exchange.traffic.bytesSent, plain.traffic.bytesSent]
    try allRanks.allReduce(&sent, .sum)
    #expect(140 * sent[0] <= sent[1], "\(Double(sent[1]) / Double(sent[0]))")
  }
}
