public import Buffers
public import Codecs
internal import Transport

/// A coded all-reduce of several ranks in one process, without messages: what a codec makes of their gradients.
///
///     y = C(Σ D(C(g_i + r_i)) + R)      r_i ← g_i + r_i − D(C(g_i + r_i))      R likewise
///
/// Group by group, the ranks encode their gradients, each with its residual r_i, and the owner of the group decodes and adds them in rank
/// order and encodes the sum with its own, R. The result has the bits of a ``CodedAllReduce`` in which every rank encodes, with the same
/// seed and steps, as random numbers are those of ranks and owners.
///
/// Source: "simulated quantization", algorithms §5.2.
/// - Cost: the work of all ranks; K + 1 residuals.
public final class SimulatedAllReduce {
  /// The codec of the gradients.
  public let codec: any Codec
  /// The number of ranks K.
  public let rankCount: Int
  /// The bytes of the codes of all ranks in the last exchange, and of those of their sums.
  public private(set) var byteCounts = (contributions: 0, sums: 0)
  private let geometry: ExchangeGeometry
  private let seed: UInt64
  private let streams = CodeStreams()
  /// Those of ranks; none for a codec that loses nothing.
  private let coders: [GroupCoder]
  /// That of all owners.
  private let ownerCoder: GroupCoder
  private let codes: [ByteBuffer]
  private let ownerCode: ByteBuffer
  private let scratch: FloatBuffer

  /// Simulates `rankCount` ranks with gradients of this layout.
  ///
  /// The owner of a group is that of an exchange with segments by `rule`.
  public init(
    _ codec: any Codec, layout: TensorLayout, rankCount: Int, seed: UInt64 = 1, rule: ExchangeGeometry.SegmentRule = .messages
  ) {
    require(rankCount > 0, "there is a rank at least")
    (self.codec, self.rankCount, self.seed) = (codec, rankCount, seed)
    let geometry = ExchangeGeometry(layout, codec: codec, rankCount: rankCount, rule: rule)
    self.geometry = geometry
    let isCoded = rankCount > 1 && !codec.isIdentity
    coders = isCoded ? (0..<rankCount).map { _ in GroupCoder(codec, count: layout.count) } : []
    ownerCoder = GroupCoder(codec, count: isCoded ? layout.count : 0)
    let segments = isCoded ? geometry.segments.joined().map { ($0.payloadByteCount, $0.elements.count) } : []
    let (bytes, values) = (segments.map(\.0).max() ?? 0, segments.map(\.1).max() ?? 0)
    codes = coders.map { _ in ByteBuffer(count: bytes) }
    (ownerCode, scratch) = (ByteBuffer(count: bytes), FloatBuffer(count: values))
  }

  /// Exchanges the gradients of all ranks, and writes what each of them gets to `sum`.
  ///
  /// - Parameters:
  ///   - step: The training step.
  ///   - gradients: The gradient of each rank.
  ///   - sum: Where the result goes.
  public func run(step: Int, _ gradients: [FloatBuffer], into sum: FloatBuffer) {
    require(gradients.count == rankCount, "\(gradients.count) gradients of \(rankCount) ranks")
    byteCounts = (0, 0)
    guard rankCount > 1 else { return sum.copy(from: gradients[0]) }
    guard !codec.isIdentity else {
      let sources = gradients.map { UnsafeRawPointer($0.baseAddress) }
      codec.decodeSum(sources, codeCount: rankCount, count: sum.count, into: sum.baseAddress)
      byteCounts = (4 * sum.count * rankCount, 4 * sum.count)
      return
    }
    for segment in geometry.segments.joined() { exchange(segment, step: step, gradients, into: sum) }
  }

  private func exchange(_ segment: Segment, step: Int, _ gradients: [FloatBuffer], into sum: FloatBuffer) {
    var context = EncodingContext(seed: seed, step: step)
    var group = segment.groups.lowerBound
    while group < segment.groups.upperBound {
      let next = geometry.runEnd(group, in: segment)
      let (range, areSingle) = (geometry.groupStarts[group]..<geometry.groupStarts[next], next > group + 1)
      geometry.move(&context, to: group)
      for (rank, coder) in coders.enumerated() {
        context.stream = streams.contributions(of: rank)
        byteCounts.contributions += coder.encode(
          gradients[rank].baseAddress + range.lowerBound, at: range.lowerBound, count: range.count, areSingle: areSingle,
          into: codes[rank].baseAddress, context: context)
      }
      var sources = codes.map { UnsafeRawPointer($0.baseAddress) }
      coders[0].decodeSum(
        &sources, codeCount: rankCount, count: range.count, areSingle: areSingle, into: scratch.baseAddress)
      context.stream = streams.sums(of: segment.shard)
      byteCounts.sums += ownerCoder.encode(
        scratch.baseAddress, at: range.lowerBound, count: range.count, areSingle: areSingle, into: ownerCode.baseAddress,
        context: context)
      coders[0].decode(
        ownerCode.baseAddress, count: range.count, areSingle: areSingle, setting: sum.baseAddress + range.lowerBound)
      group = next
    }
  }
}
