public import Buffers

/// The order in which an epoch visits the samples: a permutation that follows from the seed and the epoch alone.
///
/// Each sample draws a 64-bit key from Philox at (epoch, sample); samples are sorted by key, ties by index. Every rank computes
/// the whole order and takes its part of each minibatch, so that the samples of a step do not depend on the number of ranks.
/// Cost: O(n log n), about 0.15 s per million samples.
public struct SampleOrder: Sendable {
  /// The number of samples.
  public let count: Int
  private let seed: UInt64
  private let purpose: Philox.Purpose
  private let stream: Int

  /// Orders of `count` samples, independent of orders of another purpose or stream.
  public init(count: Int, seed: UInt64, purpose: Philox.Purpose = .dataOrder, stream: Int = 0) {
    require(count >= 0 && count <= Int32.max, "cannot order \(count) samples")
    self.count = count
    self.seed = seed
    self.purpose = purpose
    self.stream = stream
  }

  /// The samples in the order of epoch `number`.
  public func epoch(_ number: Int) -> [Int32] {
    struct Place {
      let key: UInt64
      let sample: Int32
    }
    let random = Philox(seed: seed, purpose: purpose, step: number, stream: stream)
    var places = (0..<count).map { sample in
      let words = random.words(quad: sample)
      return Place(key: UInt64(words[0]) << 32 | UInt64(words[1]), sample: Int32(sample))
    }
    places.sort { ($0.key, $0.sample) < ($1.key, $1.sample) }
    return places.map(\.sample)
  }
}
