/// How the ranks share the samples of a step: `equal`, `measured`, or `20/10/20,25/8/17@100`.
///
/// Samples count alike on all ranks: shares change how long ranks wait for one another, and the order of sums, but not
/// what is learnt.
/// Source: algorithms §11.2.
public enum ShareRule: Codable, Hashable, Sendable {
  /// As equal as possible.
  case equal
  /// By the samples that each rank computes in a second, compared every few steps.
  case measured(every: Int)
  /// As listed, in the order of their steps; equal before the first.
  case listed([Change])

  /// Shares from a step on.
  public struct Change: Codable, Hashable, Sendable {
    /// The steps done before.
    public var step: Int
    /// The samples of each rank, or numbers in the same proportion.
    public var weights: [Int]

    /// Shares of `weights` after `step` steps.
    public init(step: Int, weights: [Int]) { (self.step, self.weights) = (step, weights) }
  }

  /// Whether shares follow the speeds of ranks.
  package var isMeasured: Bool { if case .measured = self { true } else { false } }

  /// The steps between looks at the speeds, if no number is given.
  static let usualPeriod = 100

  /// The samples of each rank of `count` in all, in proportion to `weights`: rounded down, and one more where the remainders are
  /// the largest, of equal ones at the lower ranks.
  public static func counts(_ count: Int, by weights: [Double]) -> [Int] {
    let total = weights.reduce(0, +)
    guard total > 0 else { return weights.indices.map { count / weights.count + ($0 < count % weights.count ? 1 : 0) } }
    let quotas = weights.map { Double(count) * $0 / total }
    var counts = quotas.map { Int($0.rounded(.down)) }
    let order = quotas.indices.sorted {
      let (a, b) = (quotas[$0] - Double(counts[$0]), quotas[$1] - Double(counts[$1]))
      return a != b ? a > b : $0 < $1
    }
    for rank in order.prefix(max(0, count - counts.reduce(0, +))) { counts[rank] += 1 }
    return counts
  }

  /// The same with a sample for each rank at least, which the largest share gives.
  public static func countsOfAll(_ count: Int, by weights: [Double]) -> [Int] {
    var counts = counts(count, by: weights)
    while count >= counts.count, let none = counts.firstIndex(of: 0),
      let most = counts.indices.max(by: { counts[$0] < counts[$1] })
    {
      (counts[none], counts[most]) = (1, counts[most] - 1)
    }
    return counts
  }
}

extension ShareRule: OptionValue {
  init?(optionText: String) {
    if optionText == "equal" { self = .equal; return }
    if optionText == "measured" { self = .measured(every: ShareRule.usualPeriod); return }
    if optionText.hasPrefix("measured:every=") {
      guard let period = Int(optionText.dropFirst("measured:every=".count)), period >= 1 else { return nil }
      self = .measured(every: period)
      return
    }
    let texts = optionText.split(separator: ",", omittingEmptySubsequences: false)
    let changes = texts.compactMap(Change.init(text:))
    guard changes.count == texts.count, zip(changes, changes.dropFirst()).allSatisfy({ $0.step < $1.step }),
      Set(changes.map(\.weights.count)).count == 1
    else { return nil }
    self = .listed(changes)
  }

  var optionText: String? {
    switch self {
    case .equal: "equal"
    case .measured(let period): period == ShareRule.usualPeriod ? "measured" : "measured:every=\(period)"
    case .listed(let changes): changes.map(\.text).joined(separator: ",")
    }
  }

  static var expectation: String {
    "equal, measured, measured:every=STEPS, or samples by rank such as 20/10/20, and 25/8/17@STEP for those after a step"
  }
}

extension ShareRule.Change {
  /// Reads `20/10/20` or `20/10/20@100`.
  fileprivate init?(text: some StringProtocol) {
    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
    let numbers = parts[0].split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
    let weights = numbers.compactMap(\.self).filter { (0...1_000_000_000).contains($0) }
    guard weights.count == numbers.count, weights.contains(where: { $0 > 0 }), parts.count <= 2,
      let step = parts.count == 2 ? Int(parts[1]) : 0, step >= 0
    else { return nil }
    self.init(step: step, weights: weights)
  }

  fileprivate var text: String { weights.map(String.init).joined(separator: "/") + (step == 0 ? "" : "@\(step)") }
}
