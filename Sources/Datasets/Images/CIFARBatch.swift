internal import Buffers

/// One file of CIFAR-10's binary version: records of a label byte and 32 × 32 pixels, by planes of red, green and blue.
///
/// Source: the page of the CIFAR-10 data set, "Binary version".
struct CIFARBatch: Sendable {
  /// Rows, and pixels of a row.
  static let side = 32
  /// The pixels of a plane.
  static let planeSize = side * side
  static let channelCount = 3
  static let classCount = 10
  /// A label, and three planes.
  static let recordSize = 1 + channelCount * planeSize

  /// The name of the file that was read, `.gz` included.
  let path: String
  /// The number of records in use, the first of the file.
  let count: Int
  private let content: [UInt8]

  /// Reads a file and checks the labels of its records; `limit` says how many are used, nil for all.
  init(_ path: String, atMost limit: Int?) throws(DataError) {
    let content = try readDecompressed(path)
    guard !content.isEmpty else { throw DataError("'\(path)' is empty; fetch it again") }
    let (count, rest) = content.count.quotientAndRemainder(dividingBy: Self.recordSize)
    guard rest == 0 else {
      throw DataError(
        "'\(path)' is truncated, or no file of CIFAR-10's binary version: after \(count) whole records of "
          + "\(Self.recordSize) bytes, \(rest) are left over; fetch it again")
    }
    (self.path, self.content) = (path, content)
    self.count = min(count, limit ?? count)
    for record in 0..<self.count where label(record) >= Self.classCount {
      throw DataError(
        "'\(path)': the label of record \(record) is \(label(record)), and CIFAR-10 has 10 classes; fetch it again")
    }
  }

  /// The label of a record.
  func label(_ record: Int) -> Int { Int(content[record * Self.recordSize]) }

  /// Calls `body` with the three planes of a record.
  func withPlanes<Result>(of record: Int, _ body: (UnsafePointer<UInt8>) -> Result) -> Result {
    content.withUnsafeBufferPointer { body($0.baseAddress! + record * Self.recordSize + 1) }
  }

  /// Adds the pixels of each channel to its histogram.
  func count(into histograms: inout [ByteHistogram]) {
    for record in 0..<count {
      withPlanes(of: record) { planes in
        for channel in histograms.indices {
          for place in 0..<Self.planeSize { histograms[channel].counts[Int(planes[channel * Self.planeSize + place])] += 1 }
        }
      }
    }
  }

  /// A hash of the records in use.
  var hash: UInt64 {
    content.withUnsafeBytes { XXHash64.hash(UnsafeRawBufferPointer(rebasing: $0[..<(count * Self.recordSize)])) }
  }
}
