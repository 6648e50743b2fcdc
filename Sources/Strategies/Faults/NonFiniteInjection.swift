/// Where a gradient gets a non-finite value, for tests: `3:1` in step 3 of rank 1, both counted from 0; `3-12:1` in ten
/// steps; `3-12:1:0` in the first half of each, if steps are done by halves.
struct NonFiniteInjection: Hashable, Sendable {
  let steps: ClosedRange<Int>
  let rank: Int
  /// Nil for every part of a step.
  let part: Int?

  /// Nil if `text` has another form.
  init?(_ text: String) {
    let fields = text.split(separator: ":", omittingEmptySubsequences: false)
    let steps = fields[0].split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard (2...3).contains(fields.count), steps.count <= 2, let first = steps[0], let last = steps[steps.count - 1],
      first >= 0, first <= last, let rank = Int(fields[1])
    else { return nil }
    let part = fields.count == 3 ? Int(fields[2]) : nil
    guard fields.count == 2 || part != nil else { return nil }
    (self.steps, self.rank, self.part) = (first...last, rank, part)
  }

  /// Whether this gradient gets such a value.
  func strikes(step: Int, part: Int?, rank: Int) -> Bool {
    steps.contains(step) && rank == self.rank && (self.part == nil || part == self.part)
  }
}
