import Buffers
import Foundation

/// How the energy of a vector, the sum of its squares, is spread over its coordinates.
struct Energy {
  /// The squares, largest first.
  private let squares: [Double]
  private let total: Double

  init(_ vector: FloatBuffer) {
    squares = (0..<vector.count).map { Double(vector[$0]) * Double(vector[$0]) }.sorted(by: >)
    total = squares.reduce(0, +)
  }

  /// The number of coordinates that carry at least this share of the energy.
  func count(carrying share: Double) -> Int {
    var sum = 0.0
    for (index, square) in squares.enumerated() where total > 0 {
      sum += square
      if sum >= share * total { return index + 1 }
    }
    return 0
  }

  /// The share of the energy that the `count` largest coordinates carry.
  func share(of count: Int) -> Double { total > 0 ? squares.prefix(count).reduce(0, +) / total : 0 }

  /// The share of coordinates that are not zero.
  var support: Double { Double(squares.count { $0 > 0 }) / Double(max(squares.count, 1)) }

  /// The share of coordinates in each bin of the magnitude, in root mean squares of all coordinates.
  ///
  /// Bins have width `width` in the logarithm to base ten, from `low` to `high`; smaller magnitudes count in the first bin,
  /// zeros in none.
  func histogram(from low: Double, to high: Double, width: Double) -> [(magnitude: Double, share: Double)] {
    let count = Int(((high - low) / width).rounded())
    var bins = Array(repeating: 0, count: count)
    let mean = total / Double(max(squares.count, 1))
    for square in squares where square > 0 {
      let place = (log10(square / mean) / 2 - low) / width
      bins[min(max(Int(place.rounded(.down)), 0), count - 1)] += 1
    }
    return bins.enumerated().map { (pow(10, low + (Double($0) + 0.5) * width), Double($1) / Double(squares.count)) }
  }
}
