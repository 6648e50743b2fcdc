/// How the ascending indices of a message are written.
///
/// With `auto`, two bits say which of the others it is: the one with the fewest bits for these indices.
public enum IndexChoice: String, CaseIterable, Sendable {
  case auto
  case eliasFano = "elias-fano"
  case gaps
  case bitmap

  private static let formBits = 2
  /// The forms by the number that stands for them.
  private static let forms: [IndexChoice] = [.eliasFano, .gaps, .bitmap]

  /// The most bits of `count` indices below `bound`; it does not fall as `count` grows.
  package func mostBits(count: Int, below bound: Int) -> Int {
    switch self {
    case .auto:
      IndexChoice.formBits + min(EliasFano.mostBits(count: count, below: bound), count == 0 ? 0 : bound)
    case .eliasFano: EliasFano.mostBits(count: count, below: bound)
    case .gaps: RiceGaps.mostBits(count: count, below: bound)
    case .bitmap: bound
    }
  }

  /// Writes indices, which ascend below `bound`.
  func write(_ indices: UnsafeBufferPointer<UInt32>, below bound: Int, to writer: inout BitWriter) {
    switch self {
    case .auto:
      let (parameter, gapBits) = RiceGaps.best(indices, below: bound)
      let others = min(EliasFano.bitCount(indices, below: bound), bound)
      if gapBits < others {
        writer.write(1, IndexChoice.formBits)
        RiceGaps.write(indices, parameter: parameter, to: &writer)
      } else {
        let isBitmap = others == bound
        writer.write(isBitmap ? 2 : 0, IndexChoice.formBits)
        (isBitmap ? IndexChoice.bitmap : .eliasFano).write(indices, below: bound, to: &writer)
      }
    case .eliasFano: EliasFano.write(indices, below: bound, to: &writer)
    case .gaps: RiceGaps.write(indices, parameter: RiceGaps.best(indices, below: bound).parameter, to: &writer)
    case .bitmap: IndexBitmap.write(indices, below: bound, to: &writer)
    }
  }

  /// Reads indices into all of `indices`; false if they are not such indices.
  func read(
    into indices: UnsafeMutableBufferPointer<UInt32>, below bound: Int, from reader: inout BitReader
  ) -> Bool {
    switch self {
    case .auto:
      let form = Int(reader.read(IndexChoice.formBits))
      guard form < IndexChoice.forms.count else { return false }
      return IndexChoice.forms[form].read(into: indices, below: bound, from: &reader)
    case .eliasFano: return EliasFano.read(into: indices, below: bound, from: &reader)
    case .gaps: return RiceGaps.read(into: indices, below: bound, from: &reader)
    case .bitmap: return IndexBitmap.read(into: indices, below: bound, from: &reader)
    }
  }
}

// MARK: - By themselves

extension IndexChoice {
  /// Writes a list of indices, which ascend below `bound`; returns the number of bytes, and there must be room for the most.
  package func encode(_ indices: [UInt32], below bound: Int, into code: UnsafeMutableRawPointer) -> Int {
    var writer = BitWriter(code)
    indices.withUnsafeBufferPointer { write($0, below: bound, to: &writer) }
    return writer.finish()
  }

  /// Reads a list of `count` indices below `bound` that fills `code`.
  ///
  /// Throws if the bytes are not the code of such a list.
  package func decode(_ code: UnsafeRawBufferPointer, count: Int, below bound: Int) throws(SparseCodeError) -> [UInt32] {
    guard let start = code.baseAddress, count <= bound else { throw SparseCodeError("\(count) indices below \(bound)") }
    var reader = BitReader(start, byteCount: code.count)
    var isList = false
    let indices = [UInt32](unsafeUninitializedCapacity: count) { room, initialized in
      room.initialize(repeating: 0)
      initialized = count
      isList = read(into: UnsafeMutableBufferPointer(rebasing: room[..<count]), below: bound, from: &reader) && reader.isAtEnd
    }
    guard isList else { throw SparseCodeError("\(code.count) bytes that are no \(count) indices below \(bound)") }
    return indices
  }
}
