internal import Buffers

extension TensorLayout {
  /// The first of `groups` of each tensor, and their number at the end: the groups of tensor t are `bounds[t]..<bounds[t + 1]`.
  func groupBounds(_ groups: [Range<Int>]) -> [Int] {
    var bounds = [0]
    for tensor in tensors {
      var end = bounds.last!
      while end < groups.count && groups[end].lowerBound < tensor.range.upperBound { end += 1 }
      bounds.append(end)
    }
    return bounds
  }
}
