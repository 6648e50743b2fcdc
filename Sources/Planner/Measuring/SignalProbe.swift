package import Buffers
package import Codecs
internal import Collectives
internal import Transport

/// Measures what part of its signal a codec leaves for later, on gradients of the run, one after another, with the residual in it.
///
///     λ = Σ ‖v − C(v)‖² / Σ ‖v‖²      v = g + r      r ← v − C(v)
///
/// over the gradients of all ranks after the first, which has no residual yet. What owners leave of sums is not in it. It is 1 for a
/// codec of which nothing arrives, and more for one that adds more noise than there is signal.
package struct SignalProbe {
  let repetitions: Repetitions
  let layout: TensorLayout

  /// The most values that are coded: of the groups of larger models every second one, or third, and so on.
  private static let mostValues = 1 << 20
  /// The gradients, with the first.
  static let gradientCount = 5

  /// A probe of gradients of this layout.
  package init(repetitions: Repetitions, layout: TensorLayout) {
    (self.repetitions, self.layout) = (repetitions, layout)
  }

  /// λ of each codec by its specification, the same on all ranks; infinite if it is no number.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - codecs: The codecs.
  ///   - gradient: Where this rank's gradients are.
  ///   - next: Computes the next one.
  package func measure(
    _ codecs: [any Codec], of gradient: FloatBuffer, next: () throws -> Void
  ) throws -> [String: Double] {
    let streams = codecs.map { Stream($0, layout) }
    for index in 0..<(streams.isEmpty ? 0 : SignalProbe.gradientCount) {
      try next()
      for stream in streams { stream.send(gradient, step: index, counts: index > 0) }
    }
    return try streams.reduce(into: [:]) { shares, stream in
      let own = [stream.lost.bitPattern, stream.all.bitPattern]
      let words = try repetitions.records.gather(own, activity: "the measuring of a plan")
      func sum(_ word: Int) -> Double { words.reduce(0) { $0 + Double(bitPattern: $1[word]) } }
      shares[stream.coder.codec.specification] = SignalProbe.share(sum(0), of: sum(1))
    }
  }

  private static func share(_ lost: Double, of all: Double) -> Double {
    guard lost.isFinite && all.isFinite else { return .infinity }
    return all > 0 ? lost / all : 0
  }

  /// One rank's stream of codes.
  private final class Stream {
    let coder: GroupCoder
    private let groups: [Range<Int>]
    private let code: ByteBuffer
    private let values, arrived: FloatBuffer
    /// Σ ‖v − C(v)‖² and Σ ‖v‖².
    private(set) var (lost, all) = (0.0, 0.0)

    init(_ codec: any Codec, _ layout: TensorLayout) {
      let groups = codec.grouping.groups(of: layout)
      let every = max(1, (layout.count + SignalProbe.mostValues - 1) / SignalProbe.mostValues)
      self.groups = stride(from: 0, to: groups.count, by: every).map { groups[$0] }
      coder = GroupCoder(codec, count: self.groups.reduce(0) { $0 + $1.count })
      let longest = self.groups.map(\.count).max() ?? 0
      code = ByteBuffer(count: self.groups.map { codec.encodedByteCount(of: $0.count) }.max() ?? 0)
      (values, arrived) = (FloatBuffer(count: longest), FloatBuffer(count: longest))
    }

    func send(_ gradient: FloatBuffer, step: Int, counts: Bool) {
      var place = 0
      for (index, group) in groups.enumerated() {
        let (g, r) = (gradient.baseAddress + group.lowerBound, coder.residual.baseAddress + place)
        let (v, y) = (values.baseAddress, arrived.baseAddress)
        for i in 0..<group.count { v[i] = g[i] + r[i] }
        coder.encode(
          g, at: place, count: group.count, into: code.baseAddress, context: EncodingContext(step: step, group: index))
        coder.decode(code.baseAddress, count: group.count, setting: y)
        for i in 0..<(counts ? group.count : 0) {
          let rest = Double(v[i]) - Double(y[i])
          lost += rest * rest
          all += Double(v[i]) * Double(v[i])
        }
        place += group.count
      }
    }
  }
}
