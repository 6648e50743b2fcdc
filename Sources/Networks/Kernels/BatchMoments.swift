/// The count, the means and the squared distances from them of the rows of a matrix, by columns, in fp64.
struct BatchMoments {
  /// The number of rows.
  var count = 0.0
  /// The mean of each column.
  var means: [Double]
  /// Σ (x − mean)² of each column.
  var squares: [Double]

  /// Those of no rows.
  init(channels: Int) {
    means = Array(repeating: 0, count: channels)
    squares = means
  }

  /// Adds the moments of other rows: never E[x²] − E[x]², which loses what it computes.
  ///
  /// Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
  mutating func join(_ other: BatchMoments) {
    guard other.count > 0 else { return }
    let total = count + other.count
    for channel in means.indices {
      let distance = other.means[channel] - means[channel]
      means[channel] += distance * other.count / total
      squares[channel] += other.squares[channel] + distance * distance * count * other.count / total
    }
    count = total
  }

  /// As values to exchange.
  var words: [Double] { [count] + means + squares }

  /// From exchanged values.
  init(_ words: [Double]) {
    let channels = words.count / 2
    count = words[0]
    means = Array(words[1..<1 + channels])
    squares = Array(words[(1 + channels)...])
  }
}
