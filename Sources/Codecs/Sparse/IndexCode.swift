internal import Buffers

/// A compact code of an ascending list of indices below a known bound.
///
/// With k indices below d, there are two forms; the first is used if k > d/32, so that both sides know which it is:
///
///     bitmap   ⌈d/8⌉ bytes; bit e % 8 of byte e / 8 is 1 if e is in the list
///     gaps     for each index the number of indices between it and the one before (the first: below it), in groups of 7 bits,
///              low ones first, one byte each; the highest bit of a byte is 1 if another follows (LEB128)
///
/// A gap below 128 takes one byte, so that a random list of one index in a hundred takes about 10 bits per index. Zero bytes
/// pad to a multiple of 4.
///
/// Source: algorithms §A9.
public struct IndexCode: Hashable, Sendable {
  /// The bound; all indices are below it.
  public let bound: Int

  /// Creates the code of indices below `bound`, at most 2³².
  public init(bound: Int) {
    require(bound >= 0 && bound <= 1 << 32, "indices are of 32 bits")
    self.bound = bound
  }

  /// Whether a list of `count` indices is sent as a bitmap.
  public func isBitmap(count: Int) -> Bool { count > bound / 32 }

  /// The maximum number of bytes of a list of `count` indices.
  public func mostBytes(count: Int) -> Int {
    isBitmap(count: count) ? Self.padded((bound + 7) / 8) : Self.padded(min(5 * count, count + bound / 128 + 1))
  }

  static func padded(_ byteCount: Int) -> Int { (byteCount + 3) / 4 * 4 }

  /// Writes the list and returns the number of bytes, a multiple of 4; `code` must have room for ``mostBytes(count:)``.
  public func encode(_ indices: [UInt32], into code: UnsafeMutableRawPointer) -> Int {
    let bytes = code.assumingMemoryBound(to: UInt8.self)
    var (end, next) = (0, 0)
    if isBitmap(count: indices.count) {
      end = (bound + 7) / 8
      bytes.update(repeating: 0, count: end)
    }
    for index in indices {
      require(index >= next && index < bound, "indices ascend and are below \(bound); \(index) comes too late")
      if isBitmap(count: indices.count) {
        bytes[Int(index / 8)] |= 1 << UInt8(index % 8)
      } else {
        var gap = Int(index) - next
        while gap >= 128 {
          bytes[end] = UInt8(gap & 127 | 128)
          gap >>= 7
          end += 1
        }
        bytes[end] = UInt8(gap)
        end += 1
      }
      next = Int(index) + 1
    }
    while end % 4 != 0 {
      bytes[end] = 0
      end += 1
    }
    return end
  }

  /// Reads a list of `count` indices that fills `code`.
  ///
  /// Throws if the bytes are not the code of such a list; only what was encoded is accepted.
  public func decode(_ code: UnsafeRawBufferPointer, count: Int) throws(SparseCodeError) -> [UInt32] {
    var indices: [UInt32] = []
    guard count >= 0, count <= bound else { throw SparseCodeError("\(count) indices below \(bound)") }
    indices.reserveCapacity(count)
    var end = 0
    if isBitmap(count: count) {
      end = (bound + 7) / 8
      guard code.count >= end else { throw SparseCodeError("a bitmap of \(bound) indices in \(code.count) bytes") }
      for place in 0..<end {
        var byte = code[place]
        while byte != 0 {
          indices.append(UInt32(place * 8 + byte.trailingZeroBitCount))
          byte &= byte - 1
        }
      }
      guard indices.count == count, indices.last.map({ $0 < bound }) ?? true else {
        throw SparseCodeError("a bitmap with \(indices.count) of \(count) indices below \(bound)")
      }
    } else {
      var next = 0
      for _ in 0..<count {
        var (gap, shift) = (0, 0)
        repeat {
          guard end < code.count, shift < 35 else { throw SparseCodeError("a gap without an end") }
          gap |= Int(code[end] & 127) << shift
          shift += 7
          end += 1
        } while code[end - 1] >= 128
        guard shift == 7 || code[end - 1] > 0 else { throw SparseCodeError("a gap longer than it need be") }
        next += gap
        guard next < bound else { throw SparseCodeError("the index \(next), which is not below \(bound)") }
        indices.append(UInt32(next))
        next += 1
      }
    }
    guard code.count == Self.padded(end), code[end...].allSatisfy({ $0 == 0 }) else {
      throw SparseCodeError("\(code.count) bytes where \(Self.padded(end)) were expected")
    }
    return indices
  }
}

/// An error in bytes that should be a sparse code.
public struct SparseCodeError: Error, Hashable, CustomStringConvertible {
  public let description: String
  init(_ what: String) { description = "a sparse code has \(what): it was damaged, or encoded for another length" }

  /// An error in bytes that should be a code of the codec `specification`.
  static func damaged(_ specification: String) -> SparseCodeError { SparseCodeError("no values of \(specification)") }
}
