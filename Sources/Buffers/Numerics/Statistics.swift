/// The value below which the share `share` of the values lies (nearest rank); nil of none.
package func percentile(_ share: Double, of values: [Double]) -> Double? {
  values.isEmpty ? nil : values.sorted()[min(values.count - 1, Int(Double(values.count) * share))]
}

/// The middle value, the upper of two; nil of none.
package func median(of values: [Double]) -> Double? { percentile(0.5, of: values) }

/// The indices whose value is not the commonest; of equally common values the one that comes first counts as right.
package func dissenters(among values: [UInt64]) -> [Int] {
  guard var right = values.first else { return [] }
  var counts: [UInt64: Int] = [:]
  for value in values { counts[value, default: 0] += 1 }
  for value in values where counts[value]! > counts[right]! { right = value }
  return values.indices.filter { values[$0] != right }
}
