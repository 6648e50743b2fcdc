internal import Buffers
internal import Codecs
internal import Collectives
internal import Transport

/// One exchange of a busiest rank: its bytes per round from the geometry, its times from the costs.
struct ExchangePrediction {
  /// Bytes that the rank sends, including headers if messages have them.
  private(set) var bytesSent = 0
  /// Messages to other hosts.
  private(set) var messages = 0
  /// The number of ranks on other hosts with which it exchanges messages.
  let remotePeers: Int
  private let rounds: [RoundWork]
  private let codec: any Codec
  private let link: LinkCosts
  private let costs: PlanCosts
  private let layoutCount: Int
  private let ranks: Int
  /// The number of codes that an owner sums.
  private let parties: Int
  /// The number of ranks whose floats are summed before encoding; 1 if none are.
  private let ranksAddedUp: Int
  /// The number of ranks of a full host, which share its link.
  private let sharers: Int

  /// The work of a round.
  private struct RoundWork {
    var encodedValues = 0
    var contributionBytes = 0
    var summedValues = 0
    var sumBytes = 0
    var decodedValues = 0
  }

  init(
    _ codec: any Codec, layout: TensorLayout, ranks: Int, ranksPerHost: Int, topology: PlanTopology, link: LinkCosts,
    costs: PlanCosts
  ) {
    let isOneHost = ranks <= ranksPerHost
    let isHierarchical = topology == .hierarchical
    let geometry = ExchangeGeometry(layout, codec: codec, rankCount: ranks, rule: isOneHost ? .sharedWindow : .messages)
    let routes = ExchangeRoutes(leaders: (0..<ranks).map { $0 / ranksPerHost * ranksPerHost }, isHierarchical: isHierarchical)
    // The rank that owns the most: others wait for it.
    let bytes = geometry.segments.map { $0.reduce(0) { $0 + $1.messageByteCount } }
    let rank = bytes.indices.max { bytes[$0] < bytes[$1] } ?? 0
    (self.codec, self.link, self.costs, self.ranks, layoutCount) = (codec, link, costs, ranks, layout.count)
    parties = routes.parties.count
    ranksAddedUp = routes.parties[0].count
    sharers = isOneHost ? 1 : ranksPerHost
    let receivers = isOneHost ? (0..<ranks).filter { $0 != rank } : routes.receivers(ofShard: rank)
    remotePeers = isOneHost ? 0 : receivers.count

    // Round by round, in the order in which segments are encoded: one for each owner in turn, bucket by bucket.
    var (firstRounds, roundCount) = ([Int](), 0)
    for depth in ExchangePrediction.depths(of: geometry) {
      firstRounds.append(roundCount)
      roundCount += depth
    }
    var rounds = Array(repeating: RoundWork(), count: roundCount)
    for (owner, segments) in geometry.segments.enumerated() {
      let isEncoded = routes.contributes(rank, toShard: owner)
      let isSent = isOneHost ? owner != rank : !routes.areOnOneHost(owner, rank)
      var (bucket, place) = (-1, 0)
      for segment in segments {
        place = segment.bucket == bucket ? place + 1 : 0
        bucket = segment.bucket
        let round = firstRounds[bucket] + place
        let byteCount = isOneHost ? segment.payloadByteCount : segment.messageByteCount
        rounds[round].decodedValues += segment.elements.count
        if isEncoded { rounds[round].encodedValues += segment.elements.count }
        if isEncoded && isSent {
          rounds[round].contributionBytes += byteCount
          if !isOneHost { messages += 1 }
        }
        if owner == rank {
          rounds[round].summedValues += segment.elements.count
          rounds[round].sumBytes += receivers.count * byteCount
          if !isOneHost { messages += receivers.count }
        }
      }
    }
    self.rounds = rounds
    bytesSent = rounds.reduce(0) { $0 + $1.contributionBytes + $1.sumBytes }
  }

  /// The largest number of segments that a shard has in each bucket.
  private static func depths(of geometry: ExchangeGeometry) -> [Int] {
    var depths = Array(repeating: 0, count: geometry.buckets.count)
    for segments in geometry.segments {
      var counts = Array(repeating: 0, count: depths.count)
      for segment in segments { counts[segment.bucket] += 1 }
      for bucket in depths.indices { depths[bucket] = max(depths[bucket], counts[bucket]) }
    }
    return depths
  }

  /// Seconds from its beginning to its end; the update may be done elsewhere.
  func seconds(withUpdate: Bool) -> Double {
    let isFloat = codec.isIdentity
    // Floats were measured as a whole, and are predicted as a whole.
    let kernels = isFloat && link.includesFloatKernels ? KernelCosts() : costs.kernels[codec.specification] ?? KernelCosts()
    let floats = costs.kernels[Identity().specification] ?? KernelCosts()
    let update = withUpdate && layoutCount > 0 ? costs.updateSeconds / Double(layoutCount) : 0
    let post = withUpdate && layoutCount > 0 ? costs.postSeconds / Double(layoutCount) : 0
    let encode = kernels.encode + (ranksAddedUp > 1 ? floats.sum + floats.sumPerCode * Double(ranksAddedUp) : 0)
    let sum = kernels.sum + kernels.sumPerCode * Double(parties) + (isFloat ? 0 : kernels.encode) + post
    let wire = link.transfer.seconds(for: Double(bytesSent * sharers))
    let secondsPerByte = bytesSent > 0 ? wire / Double(bytesSent) : 0
    let model = WorkLoopModel(
      rounds: rounds.map { work in
        var round = WorkLoopModel.Round()
        round.encode = Double(work.encodedValues) * encode
        round.contributions = Double(work.contributionBytes) * secondsPerByte
        round.sum = Double(work.summedValues) * sum
        round.sums = Double(work.sumBytes) * secondsPerByte
        round.decode = Double(work.decodedValues) * ((isFloat ? 0 : kernels.decode) + update)
        return round
      },
      latency: link.stageSeconds(peers: remotePeers > 0 ? remotePeers : ranks - 1) + hostSeconds, messagesPerStage: parties - 1)
    return model.seconds
  }

  /// The seconds that a hierarchical exchange waits inside the host in each stage.
  private var hostSeconds: Double { ranksAddedUp > 1 ? costs.memory?.stageSeconds(peers: ranksAddedUp - 1) ?? 0 : 0 }
}
