internal import Buffers
internal import Codecs
internal import Collectives

/// One exchange of a busiest rank: its bytes by round from the geometry, its times by the costs.
struct ExchangePrediction {
  /// Bytes that the rank sends, headers included where a message has one.
  private(set) var bytesSent = 0
  /// Messages to other hosts.
  private(set) var messages = 0
  /// Ranks of other hosts with which it exchanges messages.
  let remotePeers: Int
  private let rounds: [RoundWork]
  private let codec: any Codec
  private let link: LinkCosts
  private let costs: PlanCosts
  private let layoutCount: Int
  private let ranks: Int
  /// Codes that an owner adds up.
  private let parties: Int
  /// Ranks whose floats are added before they are encoded; 1 where none are.
  private let ranksAddedUp: Int
  /// Ranks of a full host, which share its link.
  private let sharers: Int

  /// What a round has to do.
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
    let hosts = (ranks - 1) / ranksPerHost + 1
    let isOneHost = hosts == 1
    let isHierarchical = topology == .hierarchical
    let geometry = ExchangeGeometry(layout, codec: codec, rankCount: ranks, rule: isOneHost ? .sharedWindow : .messages)
    // The rank that owns most: others wait for it.
    let bytes = geometry.segments.map { $0.reduce(0) { $0 + $1.messageByteCount } }
    let rank = bytes.indices.max { bytes[$0] < bytes[$1] } ?? 0
    (self.codec, self.link, self.costs, self.ranks, layoutCount) = (codec, link, costs, ranks, layout.count)
    parties = isHierarchical ? hosts : ranks
    ranksAddedUp = isHierarchical ? ranksPerHost : 1
    sharers = isOneHost ? 1 : ranksPerHost
    remotePeers = isOneHost ? 0 : isHierarchical ? hosts - 1 : ranks - min(ranksPerHost, ranks)

    var rounds: [RoundWork] = []
    for index in 0..<(geometry.segments.map(\.count).max() ?? 0) {
      var round = RoundWork()
      for (owner, segments) in geometry.segments.enumerated() where index < segments.count {
        let segment = segments[index]
        round.decodedValues += segment.elements.count
        // In a hierarchical exchange a rank encodes the stripes of the owners who have its place on their hosts.
        guard !isHierarchical || owner % ranksPerHost == rank % ranksPerHost else { continue }
        round.encodedValues += segment.elements.count
        let isRemote = owner / ranksPerHost != rank / ranksPerHost
        if isOneHost ? owner != rank : isRemote {
          round.contributionBytes += isOneHost ? segment.payloadByteCount : segment.messageByteCount
          if !isOneHost { messages += 1 }
        }
      }
      if index < geometry.segments[rank].count {
        let segment = geometry.segments[rank][index]
        round.summedValues = segment.elements.count
        let receivers = isOneHost ? ranks - 1 : remotePeers
        round.sumBytes = receivers * (isOneHost ? segment.payloadByteCount : segment.messageByteCount)
        if !isOneHost { messages += receivers }
      }
      bytesSent += round.contributionBytes + round.sumBytes
      rounds.append(round)
    }
    self.rounds = rounds
  }

  /// Seconds from its begin to its end; the update may be done by somebody else.
  func seconds(withUpdate: Bool) -> Double {
    let isFloat = codec.isIdentity
    // Floats were measured as a whole, and so they are predicted.
    let kernels = isFloat && link.includesFloatKernels ? KernelCosts() : costs.kernels[codec.specification] ?? KernelCosts()
    let floats = costs.kernels["none"] ?? KernelCosts()
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

  /// What a hierarchical exchange waits for inside the host in each stage.
  private var hostSeconds: Double { ranksAddedUp > 1 ? costs.memory?.stageSeconds(peers: ranksAddedUp - 1) ?? 0 : 0 }
}
