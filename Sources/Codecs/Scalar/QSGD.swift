internal import Buffers
internal import Kernels

/// A few bits per value that are right on average, `qsgd`: magnitudes on a grid of s steps up to a norm ν of the bucket.
///
///     fp32    ν = ‖v‖₂ or the largest |v|
///     codes   q of −s to s in 2, 4, 8 or 16 bits, as `CodeLoops` lays them out
///
/// |v|/ν·s is rounded to one of the integers beside it, up with the probability of its fraction, so that E y = v for
/// y = ν q/s. The error is at most min(n/s², √n/s) ‖v‖₂² with ν = ‖v‖₂. Random numbers come from the context: the same at any number of
/// ranks. Without feedback what is lost is lost; with it (`feedback=true`), the code must be a contraction: s of at least √n.
///
/// Source: Alistarh et al. 2017, "QSGD: Communication-efficient SGD via gradient quantization and encoding"; algorithms §5.1.
/// - Cost: 4 + 4⌈n b/32⌉ bytes per bucket, b the least of 2, 4, 8 and 16 with 2s + 1 codes.
struct QSGD: LoopCodec {
  let name = "qsgd"
  let grouping: Grouping
  let norm: Norm
  let loops: GridLoops
  var keepsRemainder: Bool { loops.keepsRemainder }
  var isUnbiased: Bool { !keepsRemainder }
  var specification: String {
    "qsgd:levels=\(loops.levels),norm=\(norm.rawValue),bucket=\(grouping),code=dense,feedback=\(keepsRemainder)"
  }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> GridLoops? {
    var loops = loops
    loops.scale = norm(statistics)
    loops.random = context.random(.stochasticRounding).start
    return loops.isFinite ? loops : nil
  }

  /// How integers are written.
  private enum Form: String, CaseIterable { case dense, elias }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "qsgd",
    "integers on a grid up to a norm of each bucket, rounded at random so that sums are right on average (Alistarh et al. 2017)",
    keys: [
      ("levels", "steps from 0 to the norm, 1 to 32767: 1 takes 2 bits a value, up to 7 4, up to 127 8 (7)"),
      ("norm", "l2, or max: the largest magnitude (l2 if levels are at least the root of the bucket, otherwise max)"),
      ("bucket", "values that share a norm: 'row' of a weight matrix, or a number of elements (512)"),
      ("code", "dense: equal bits; elias: gaps and integers in Elias's omega code, shorter where most are 0 (dense)"),
      ("feedback", "true: the loss is sent later; takes levels of at least the root of the bucket, and code=dense (false)"),
    ]
  ) { specification in
    let levels = try specification.integer("levels", default: 7, in: 1...32767)
    let grouping = try Grouping(specification, key: "bucket", default: .elements(512))
    let longest = grouping.longest
    let norm = try specification.choice("norm", default: levels * levels >= longest ? Norm.l2 : .max)
    let hasFeedback = try specification.flag("feedback", default: false)
    let form = try specification.choice("code", default: Form.dense)
    guard !hasFeedback || levels * levels >= longest else {
      throw SpecificationError(
        "'\(specification)': feedback takes levels of at least the root of the bucket, \(Int(Double(longest).squareRoot().rounded(.up)))"
      )
    }
    guard !hasFeedback || form == .dense else { throw SpecificationError("'\(specification)': feedback takes code=dense") }
    let bits = form == .elias ? 16 : GridLoops.bits(forLevels: levels)
    let codec = QSGD(
      grouping: grouping, norm: norm,
      loops: GridLoops(bits: bits, levels: levels, rounding: .stochastic, keepsRemainder: hasFeedback))
    return form == .elias ? EliasQSGD(dense: codec) : codec
  }
}

extension GridLoops {
  /// The fewest bits for integers of ±`levels`.
  static func bits(forLevels levels: Int) -> Int { levels < 2 ? 2 : levels < 8 ? 4 : levels < 128 ? 8 : 16 }
}

extension Grouping {
  /// The most values of a group.
  var longest: Int {
    switch self {
    case .row: Grouping.longestRow
    case .elements(let count): count
    }
  }
}
