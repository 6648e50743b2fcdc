internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// Coordinated compression: all ranks quantize a group with one scale, so that its owner adds whole numbers.
///
///     s = max s_i, of signs min s_i      q_i: integers of v_i = g_i + e_i for s      e_i ← v_i − (q_i/m) s
///     Y = (Σ q_i/m) s: sent back as Σ q_i, or as the owner's code of Y + R      R ← Y + R − what that carries
///
/// s_i is the scale that a rank would have by itself. Sums of integers are exact: no order of ranks changes a bit, and with `sums=exact`
/// nothing but the ranks' own rounding is lost. A rank whose s_i is 0 or not finite has no part in a group: what is finite stays in
/// e_i, and a group that is not keeps its residual and is counted, as everywhere. Groups too small for a code, and tensors that travel as
/// floats, are added as floats, in rank order.
///
/// A single rank delivers its gradient as it is.
///
/// - Source: algorithms §12.1; for three levels Wen et al. 2017, "TernGrad", whose ranks share scales so.
/// - Cost: each rank sends (K − 1)/K of 8 bytes for each group, of the integers, and of the sums: codes, or ⌈log₂(2mK + 1)⌉ bits of a
///   value, in four rounds. Two passes over the values on ranks.
final class SharedScaleSum: StagedAggregation {
  let specification: String
  let result = AggregationResult.gradient
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  let rounds: MessageRounds
  let codec: any SharedScaleCodec
  let plan: SharedScalePlan
  /// Encodes sums, and the floats of this rank's shard; has R.
  let ownerCoder: GroupCoder
  /// Sums of this rank's shard; then the decoded sums of each shard in turn.
  let values: FloatBuffer
  /// The scales of all groups that are agreed on.
  let scales: FloatBuffer
  /// Encodes the floats of a contribution, and decodes sums; has e_i.
  private let coder: GroupCoder
  /// s_i of all groups; NaN if a group is not finite.
  private let ownScales: FloatBuffer
  private var agreement: ScaleAgreement
  private let rank: Int
  private let seed: UInt64
  private let streams: CodeStreams
  /// Whether there is no other rank, so that gradients are passed on.
  private let isAlone: Bool
  /// The groups of this rank, and the sums, that were not finite.
  var refusedGroups = 0

  /// Prepares sums with shared scales; collective.
  init(_ settings: SharedScaleSettings, parts: AggregationParts) throws {
    let world = parts.hosts.world
    (specification, codec, gradients) = (settings.specification, settings.codec, parts.gradients)
    (exchange, rank, seed, streams) = (parts.stagedExchange, world.rank, parts.seed, parts.options.streams)
    plan = try settings.plan(parts.layout, rankCount: world.count)
    rounds = try MessageRounds(plan.rounds, hosts: parts.hosts)
    isAlone = world.count == 1 && !parts.worksAlone
    coder = GroupCoder(codec, count: parts.layout.count)
    ownerCoder = GroupCoder(codec, count: plan.codes.elements(of: world.rank).count)
    values = FloatBuffer(count: isAlone ? 0 : plan.longestShard)
    (scales, ownScales) = (FloatBuffer(count: plan.scaleCount), FloatBuffer(count: plan.scaleCount))
    agreement = ScaleAgreement(
      groupCount: plan.scales[world.rank].count, rankCount: world.count, takesLeast: codec.sharesLeastScale)
  }

  var predictsAtMost: Bool { false }
  var nonFiniteGroups: Int { refusedGroups + coder.nonFiniteGroups + ownerCoder.nonFiniteGroups }
  var residualSquares: Double { coder.residual.sumOfSquares }
  /// Of coded sums owners keep a part.
  private var hasAllRemainders: Bool { isAlone || codec.keepsRemainder && plan.integers != nil }
  var remembered: FloatBuffer? { hasAllRemainders ? coder.residual : nil }
  /// A sum of integers is rounded once, and each rank's part of it by itself.
  var estimationError: Double { isAlone ? 0 : hasAllRemainders ? 1e-6 : .infinity }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    isAlone ? passing(gradient) : exchanging(gradient, step: contribution.step)
  }

  /// The stages of a single rank, whose gradient is the sum, with what ranks and owners of before had not sent.
  private func passing(_ gradient: FloatBuffer) -> [Stage] {
    [
      exchange.delivery { [self] sink in
        for residual in [coder.residual, ownerCoder.residual] where residual.sumOfSquares > 0 {
          add(residual.baseAddress, count: gradient.count, to: gradient.baseAddress)
          residual.clear()
        }
        sink.take(gradient.baseAddress, in: 0..<gradient.count)
      }
    ]
  }

  private func exchanging(_ gradient: FloatBuffer, step: Int) -> [Stage] {
    let proposing = rounds.beginning(exchange) { [self] in
      propose(gradient)
      try rounds.send(0)
    }
    let hearing = rounds.messages(from: rounds.peers, in: 0, .sum) { [self] proposals, peer in
      agreement.hear(proposals, of: peer)
    }
    let agreeing = Stage(.sum) { [self] in
      let message = rounds.message(in: 1)
      for (group, scale) in agreement.scales.enumerated() { message[group] = scale }
      try rounds.send(1)
    }
    let learning = rounds.messages(from: rounds.peers, in: 1, .encode) { [self] agreed, owner in
      copy(agreed, count: plan.scales[owner].count, to: scales.baseAddress + plan.scales[owner].lowerBound)
    }
    let encoding = Stage(.encode) { [self] in
      encode(gradient, EncodingContext(seed: seed, step: step, stream: streams.contributions(of: rank)))
      values.clear()
      try rounds.send(2)
    }
    let adding = rounds.messages(from: rounds.peers, in: 2, .sum) { [self] integers, peer in addIntegers(integers, of: peer) }
    let returning = Stage(.sum) { [self] in
      encodeSums(
        of: rank, into: rounds.message(in: 3), EncodingContext(seed: seed, step: step, stream: streams.sums(of: rank)))
      try rounds.send(3)
    }
    let delivering = rounds.messages(from: rounds.peers, in: 3, .decode) { [self] sums, owner in
      decodeSums(of: owner, sums, by: coder)
      exchange.sink?.take(values.baseAddress, in: plan.codes.elements(of: owner))
    }
    return [proposing] + hearing + [agreeing] + learning + [encoding] + adding + [returning, exchange.delivery { _ in }]
      + delivering + [rounds.ending()]
  }

  /// Writes the scales that this rank would have by itself.
  private func propose(_ gradient: FloatBuffer) {
    agreement.begin()
    for owner in rounds.peers {
      let (message, first) = (rounds.message(to: owner, in: 0), plan.scales[owner].lowerBound)
      for run in plan.runs[owner] {
        guard let group = run.scale else { continue }
        let start = run.elements.lowerBound
        let scale = codec.scale(gradient.baseAddress + start, coder.residual.baseAddress + start, count: run.count)
        (ownScales[group], message[group - first]) = (scale ?? .nan, scale ?? 0)
      }
    }
  }

  /// Writes the integers of all groups, or the floats of those that are not coded.
  private func encode(_ gradient: FloatBuffer, _ context: EncodingContext) {
    var context = context
    for owner in rounds.peers {
      var code = UnsafeMutableRawPointer(rounds.message(to: owner, in: 2))
      for run in plan.runs[owner] {
        let (start, own) = (run.elements.lowerBound, gradient.baseAddress + run.elements.lowerBound)
        (context.tensor, context.group) = (run.place.tensor, run.place.group)
        if let group = run.scale {
          encode(own, coder.residual.baseAddress + start, run, group, into: code, context)
          code += codec.integerByteCount(of: run.count)
        } else {
          code += coder.encode(
            own, at: start, count: run.count, areSingle: run.place.areSingle, into: code, context: context)
        }
      }
    }
  }

  private func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ run: SharedScalePlan.Run, _ group: Int,
    into integers: UnsafeMutableRawPointer, _ context: EncodingContext
  ) {
    if ownScales[group] > 0 {
      return codec.encodeIntegers(
        gradient, residual, count: run.count, scale: scales[group], into: integers, context: context)
    }
    integers.initializeMemory(as: UInt8.self, repeating: 0, count: codec.integerByteCount(of: run.count))
    if ownScales[group].isNaN {
      refusedGroups += 1
    } else if codec.keepsRemainder {
      for i in 0..<run.count { residual[i] = (gradient[i] + residual[i]) + 0.0 }
    } else {
      residual.update(repeating: 0, count: run.count)
    }
  }

  /// Adds what `peer` has sent to the sums of this rank's shard.
  private func addIntegers(_ message: UnsafePointer<Float>, of peer: Int) {
    var (code, sum) = (UnsafeRawPointer(message), values.baseAddress)
    for run in plan.runs[rank] {
      if let group = run.scale {
        if agreement.includes(peer, in: group - plan.scales[rank].lowerBound) {
          codec.addIntegers(code, count: run.count, to: sum)
        }
        code += codec.integerByteCount(of: run.count)
      } else {
        add(code.assumingMemoryBound(to: Float.self), count: run.count, to: sum)
        code += 4 * run.count
      }
      sum += run.count
    }
  }

  // MARK: State

  func forget() {
    coder.clear()
    ownerCoder.clear()
  }

  func contribute(to inventory: inout StateInventory) {
    let owned = plan.codes.elements(of: rank)
    inventory.tensors += CodedAllReduce.savedResiduals(
      coder.residual, ofOwner: ownerCoder.residual, owned.isEmpty ? [] : [owned])
  }
}
