/// Which values of an array have been written, each once.
struct WrittenRanges {
  private let count: Int
  /// Disjoint, in order, not adjacent.
  private var ranges: [Range<Int>] = []

  init(count: Int) { self.count = count }

  /// Adds a range; false if a value of it was there.
  mutating func add(_ range: Range<Int>) -> Bool {
    var place = ranges.count
    while place > 0 && ranges[place - 1].lowerBound >= range.upperBound { place -= 1 }
    if place > 0 && ranges[place - 1].upperBound > range.lowerBound { return false }
    var (lower, upper, first) = (range.lowerBound, range.upperBound, place)
    if place > 0 && ranges[place - 1].upperBound == lower { (lower, first) = (ranges[place - 1].lowerBound, place - 1) }
    if place < ranges.count && ranges[place].lowerBound == upper { (upper, place) = (ranges[place].upperBound, place + 1) }
    ranges.replaceSubrange(first..<place, with: [lower..<upper])
    return true
  }

  /// The end of what has been written without a gap from the start.
  var end: Int { ranges.first.map { $0.lowerBound == 0 ? $0.upperBound : 0 } ?? 0 }

  /// What has not been written.
  var gaps: [Range<Int>] {
    var (gaps, start): ([Range<Int>], Int) = ([], 0)
    for range in ranges {
      if range.lowerBound > start { gaps.append(start..<range.lowerBound) }
      start = range.upperBound
    }
    return start < count ? gaps + [start..<count] : gaps
  }
}
