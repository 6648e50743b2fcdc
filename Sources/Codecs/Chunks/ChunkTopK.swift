internal import Buffers
internal import Kernels

/// The k values of largest magnitude of each chunk: their indices in a compact code, and their values in a few bits.
///
/// Chunks are runs of `chunk` values of a tensor, the last one shorter, with k in proportion to its length and at least 1. With
/// v = (gradient + β · residual) + 0.0 and c ≤ k nonzero values chosen by magnitude (``MagnitudeThreshold``), a code is a stream
/// of bits, low ones first, padded to whole bytes:
///
///     c           in ⌈log₂(K + 1)⌉ bits, K being the larger of k and the number for sums
///     indices     by `index`: Elias-Fano, gaps, a bitmap, or the shortest of them (``IndexChoice``)
///     values      by `values`: ``ChunkValues``
///
/// A chosen value leaves v minus what arrives of it, rounded once; every other stays in the residual as it is. So with β = 1,
/// nothing is lost, and with values as floats not even a rounding. With β < 1 a residual fades by β each time: after T
/// contributions it is Σ β^(T−t) (gradient − sent)_t. Owners of sums, which encode them again with `down` values of a chunk, always
/// keep all of the rest.
///
/// The sum of the ranks' codes is that of what arrives. If `dividesBySenders`, each value is multiplied by the number of ranks and
/// divided by the number of those that sent it: what the code of the paper does, which is another algorithm.
///
/// The reference takes tiles of 64 × 64 values of a matrix; runs of 4 096 in rows are as long, lie together in memory, and tensors
/// of any shape have them.
///
/// Source: Sarfi et al. 2025, "Communication efficient LLM pre-training with SparseLoCo"; frontier F1.6.
/// - Cost: For 64 of 4 096 values about 9.2 bits each as signs, 74 bytes of 16 KiB; 4 more for the length of a code.
public struct ChunkTopK: SparseCodec {
  public let name = "chunk-top-k"
  public let hasVaryingLength = true
  public let isSparse = true
  public let specification: String
  public var grouping: Grouping { .elements(chunk) }
  public let dividesBySenders: Bool
  public var exchangesUntilSent: Double { Double(chunk) / Double(k.count(of: chunk)) }
  public var losesNothing: Bool { decay == 1 && !dividesBySenders }

  /// The values of a chunk that ranks send, and those that owners send of sums.
  let k, down: Amount
  package let chunk: Int
  package let values: ChunkValues
  package let index: IndexChoice
  /// β.
  package let decay: Float

  /// The number of chosen values of a chunk of `count`.
  package func chosenCount(of count: Int, isSum: Bool) -> Int {
    count == 0 ? 0 : (isSum ? down : k).share(of: count, in: chunk)
  }

  /// The most values of a code.
  private func most(of count: Int) -> Int {
    max(chosenCount(of: count, isSum: false), chosenCount(of: count, isSum: true))
  }

  private func form(of count: Int) -> SparseChunkCode {
    SparseChunkCode(index: index, values: values, count: count, most: most(of: count))
  }

  public func codeByteCount(of count: Int) -> Int { form(of: count).byteCount }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard count > 0 else { return 0 }
    let (k, decay) = (chosenCount(of: count, isSum: context.isSum), context.isSum ? 1 : decay)
    // The vector loops write up to sixteen places beyond what they find.
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * count + 16) { room in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: count + 16) { places in
        let (v, chosen, indices) = (room.baseAddress!, room.baseAddress! + count, places.baseAddress!)
        addResidual(gradient, residual, times: decay, count: count, into: v)
        let found = ChunkSelection.choose(k, of: v, count: count, indices: indices, chosen: chosen)
        for place in 0..<found where !chosen[place].isFinite { return nil }
        let sent = UnsafeBufferPointer(start: chosen, count: found)
        return form(of: count).send(sent, at: indices, of: v, residual: residual, into: code)
      }
    }
  }

  @inline(__always)
  func read(
    _ code: UnsafeRawPointer, _ byteCount: Int, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void
  ) -> Bool {
    form(of: count).read(code, byteCount: byteCount, body)
  }
}
