extension Collection {
  /// The cases for `count` ranks, as many as there are, where each is run on two of `counts`: for whole runs, which take long where
  /// ranks share cores.
  ///
  /// Each of the numbers gets about as many, and all cases run on any other number of ranks, alone too. What depends on the number
  /// itself, such as who owns what and how messages travel, is tested on all: by tests of exchanges, which take less time.
  public func dealt(to counts: [Int] = [2, 3, 4, 8], on count: Int = World.count) -> [Element] {
    guard let place = counts.firstIndex(of: count) else { return Array(self) }
    return enumerated().filter { index, _ in
      let first = index % counts.count
      let second = (first + 1 + index / counts.count % (counts.count - 1)) % counts.count
      return place == first || place == second
    }.map(\.element)
  }
}

/// Each of `first` with each of `second`, as cases that can be dealt.
public func pairs<First, Second>(_ first: [First], _ second: [Second]) -> [(First, Second)] {
  first.flatMap { first in second.map { (first, $0) } }
}
