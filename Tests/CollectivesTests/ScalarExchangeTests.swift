import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Codes with one scale for each group, and of some values of a group, through both stages of the exchange.
@Suite(.serialized) struct ScalarExchangeTests {
  static let names = [
    "ef-sign", "terngrad", "qsgd:bucket=64", "qsgd:levels=127,bucket=64", "qsgd:levels=8,bucket=64,code=elias",
    "nuqsgd:bucket=64",
    "natural", "uniform:bits=4,group=64", "uniform:rounding=dither,group=64", "uniform:range=min-max,group=100", "e3m0", "bf16",
    "bf16:rounding=stochastic", "fp16", "codebook", "fixed-threshold:threshold=0.1",
    "random-k:k=1/8,chunk=64", "random-k:k=1/4,chunk=64,seed=own,feedback=false", "threshold:limit=1,chunk=64",
    "unbiased-k:k=1/8,chunk=64", "vector", "vector:form=nearest,group=64", "vector:form=unbiased,dimension=16,group=64",
    "projection:k=1/8,chunk=64", "projection:k=1/4,chunk=64,feedback=false", "adaptive:group=64",
  ]
  static let layouts = [
    Layouts.awkward, Layouts.single, Layouts.threeRows, TensorLayout([("weights", [64, 50]), ("biases", [64])]),
  ]

  private struct Parts {
    let gradient: SharedGradient
    let exchange: CodedAllReduce

    init(_ name: String, _ layout: TensorLayout, _ transport: Transport) throws {
      gradient = try SharedGradient(count: layout.count, hosts: try HostMap(allRanks, transport: transport))
      var options = CodedAllReduce.Options()
      options.seed = 3
      exchange = try CodedAllReduce(codecs.make(name), layout: layout, gradient: gradient, options: options)
    }

    func run(_ values: [Float], step: Int) throws -> [Float] {
      gradient.values.set(values)
      let output = FloatBuffer(count: values.count)
      output.fill(.nan)
      try exchange.run(step: step, samples: 8, into: .buffer(output))
      return output.array
    }
  }

  /// All ranks and owners in one place, group by group: the same bits arrive, and the same residuals stay.
  @Test(arguments: names, transports)
  func equalsGroupByGroup(_ name: String, _ transport: Transport) throws {
    let codec = try codecs.make(name)
    let (rank, rankCount) = (allRanks.rank, allRanks.count)
    for layout in Self.layouts {
      let parts = try Parts(name, layout, transport)
      let ranks = (0..<rankCount).map { _ in GroupCoder(codec, count: layout.count) }
      let owners = GroupCoder(codec, count: layout.count)
      let owner = try gatherAll((0..<layout.count).map { parts.exchange.ownedOffset(of: $0) == nil ? 0 : 1 })
      for step in 0..<3 {
        let gradients = drawGradients(count: layout.count, seed: 51, step: step, rankCount: rankCount)
        let found = try parts.run(gradients[rank], step: step)
        #expect(try isSameOnAllRanks(found), "step \(step)")
        guard rankCount > 1 else {
          #expect(firstDifference(found, gradients[0]) == nil)
          continue
        }
        var expected = [Float](repeating: .nan, count: layout.count)
        for (tensor, place) in layout.tensors.enumerated() {
          let groups = codec.grouping.groups(of: layout).filter { place.range.contains($0.lowerBound) }
          for (number, group) in groups.enumerated() {
            func code(_ coder: GroupCoder, _ values: [Float], _ stream: Int) -> ByteBuffer {
              let code = ByteBuffer(count: codec.encodedByteCount(of: group.count) + 4)
              _ = coder.encode(
                values, at: group.lowerBound, count: group.count, into: code.baseAddress,
                context: EncodingContext(seed: 3, step: step, stream: stream, tensor: tensor, group: number))
              return code
            }
            let codes = (0..<rankCount).map {
              code(ranks[$0], Array(gradients[$0][group]), CodeStreams().contributions(of: $0))
            }
            let sum = FloatBuffer(count: group.count)
            var starts = codes.map { UnsafeRawPointer($0.baseAddress) }
            withExtendedLifetime(codes) {
              owners.decodeSum(&starts, codeCount: rankCount, count: group.count, into: sum.baseAddress)
            }
            let who = try #require((0..<rankCount).first { owner[$0][group.lowerBound] == 1 })
            let back = code(owners, sum.array, CodeStreams().sums(of: who))
            withExtendedLifetime(back) {
              _ = owners.decode(back.baseAddress, count: group.count, setting: sum.baseAddress)
            }
            expected.replaceSubrange(group, with: sum.array)
          }
        }
        #expect(firstDifference(found, expected) == nil, "step \(step)")
        #expect(firstDifference(parts.exchange.residual.array, ranks[rank].residual.array) == nil, "step \(step)")
        let wrong = (0..<layout.count).first { index in
          guard let place = parts.exchange.ownedOffset(of: index) else { return false }
          return parts.exchange.ownerResidual[place].bitPattern != owners.residual[index].bitPattern
        }
        #expect(wrong == nil, "step \(step)")
      }
      let (counted, most) = (parts.exchange.traffic, parts.exchange.predictedTraffic * 3)
      #expect(parts.exchange.predictsAtMost == codec.hasVaryingLength)
      #expect(codec.hasVaryingLength ? counted.bytesSent <= most.bytesSent : counted == most, "\(counted), predicted \(most)")
    }
  }

  /// What is sent and what stays is what was given, to rounding: over ranks, owners and steps.
  @Test(
    .ranks(atMost: 4),
    arguments: [
      "ef-sign", "uniform:bits=2,group=64", "e3m0", "bf16", "fp16", "codebook:bits=2", "qsgd:levels=8,bucket=64,feedback=true",
      "random-k:k=1/8,chunk=64", "random-k:k=1/4,chunk=64,seed=own", "threshold:limit=1,chunk=64", "vector",
      "vector:form=nearest,dimension=8", "projection:k=1/8,chunk=64", "adaptive:group=64",
    ])
  func nothingIsLost(_ name: String) throws {
    let layout = TensorLayout([("weights", [20, 50]), ("biases", [20])])
    let parts = try Parts(name, layout, .auto)
    #expect(try loss(of: parts.exchange, parts.gradient, count: layout.count, seed: 53) < 1e-3)
    #expect(allRanks.count == 1 || parts.exchange.residual.values.contains { $0 != 0 })
  }

  /// Without feedback, sums are right on average over steps, though both stages round at random.
  @Test(
    .ranks(atMost: 4),
    arguments: [
      "terngrad:clip=0", "qsgd:bucket=64", "nuqsgd:bucket=64", "natural", "uniform:bits=4,rounding=dither,group=64",
      "random-k:k=1/4,chunk=40,feedback=false", "unbiased-k:k=1/4,chunk=40",
      "projection:k=1/4,chunk=40,feedback=false",
    ])
  func sumsAreUnbiased(_ name: String) throws {
    guard allRanks.count > 1 else { return }
    let layout = TensorLayout([("weights", [2, 40])])
    let parts = try Parts(name, layout, .auto)
    let gradients = drawGradients(count: layout.count, seed: 55, step: 0, rankCount: allRanks.count)
    var (sums, squares) = ([Double](repeating: 0, count: layout.count), [Double](repeating: 0, count: layout.count))
    let exact = (0..<layout.count).map { index in gradients.reduce(0.0) { $0 + Double($1[index]) } }
    let steps = 2000
    for step in 0..<steps {
      let found = try parts.run(gradients[allRanks.rank], step: step)
      for i in sums.indices {
        let difference = Double(found[i]) - exact[i]
        sums[i] += difference
        squares[i] += difference * difference
      }
    }
    // 80 values: one of them beyond four standard errors is a chance of one in two hundred.
    for i in sums.indices {
      let mean = sums[i] / Double(steps), variance = squares[i] / Double(steps) - mean * mean
      #expect(mean.magnitude <= 4 * (max(0, variance) / Double(steps)).squareRoot() + 1e-3, "\(mean) at \(exact[i])")
    }
    #expect(parts.exchange.residual.values.allSatisfy { $0 == 0 })
  }
}
