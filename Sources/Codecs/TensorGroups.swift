package import Buffers

extension TensorLayout {
  /// The first of `groups` of each tensor, and their number at the end: the groups of tensor t are `bounds[t]..<bounds[t + 1]`.
  package func groupBounds(_ groups: [Range<Int>]) -> [Int] {
    var bounds = [0]
    for tensor in tensors {
      var end = bounds.last!
      while end < groups.count && groups[end].lowerBound < tensor.range.upperBound { end += 1 }
      bounds.append(end)
    }
    return bounds
  }

  /// The most values in a run.
  static let longestRun = 1024

  /// For each of `groups`, the end of the run that begins with it: single values of tensors that travel as floats, which are coded in one
  /// call; any other group is a run by itself.
  package func runEnds(of groups: [Range<Int>]) -> [Int] {
    let bounds = groupBounds(groups)
    var ends = groups.indices.map { $0 + 1 }
    var next: Int?
    for index in tensors.indices.reversed() {
      for group in (bounds[index]..<bounds[index + 1]).reversed() {
        let isSingle = tensors[index].kind == .raw
        if isSingle, let next { ends[group] = min(next, group + TensorLayout.longestRun) }
        next = isSingle ? ends[group] : nil
      }
    }
    return ends
  }
}
