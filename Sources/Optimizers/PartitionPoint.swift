extension Array {
  /// The first index whose element satisfies `isBeyond`, in an array in which all elements from some index on do.
  package func partitionPoint(_ isBeyond: (Element) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if isBeyond(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
