/// One IDX file of unsigned bytes: a magic number, big-endian sizes of the dimensions, then the values.
///
/// Source: the format of the MNIST database of handwritten digits.
package struct IDXFile: Sendable {
  /// The name of the file that was read, `.gz` included.
  package let path: String
  /// The size of each dimension: count, rows, columns for images; count for labels.
  package let shape: [Int]
  /// The whole content, header included, so that nothing is copied.
  let content: [UInt8]
  /// Where the values begin.
  let headerByteCount: Int

  /// Reads `name` in `directory`, or `name.gz`, and checks that it is an IDX file of bytes with `dimensionCount` dimensions.
  ///
  /// A name may also have a dot before `idx`, as in unpacked archives: `train-images.idx3-ubyte`. The first of these four that
  /// exists is read; a directory only if there is nothing else.
  package init(_ name: String, in directory: String, dimensionCount: Int) throws(DataError) {
    let names = [name, name.replacing("-idx", with: ".idx")]
    guard let path = firstFile(of: names, in: directory) else {
      throw DataError(
        "'\(directory)' holds neither \(name) nor \(name).gz (nor \(names[1])); give the directory of the four IDX files")
    }
    try self.init(content: readDecompressed(path), path: path, dimensionCount: dimensionCount)
  }

  /// Checks that `content` is an IDX file of bytes with `dimensionCount` dimensions.
  package init(content: [UInt8], path: String, dimensionCount: Int) throws(DataError) {
    let kind = dimensionCount == 1 ? "labels" : "images"
    let headerByteCount = 4 + 4 * dimensionCount
    guard content.count >= headerByteCount else {
      throw DataError("'\(path)' is truncated: \(content.count) bytes do not hold the header of an IDX file; fetch it again")
    }
    func word(_ index: Int) -> Int { content[4 * index..<4 * index + 4].reduce(0) { $0 << 8 | Int($1) } }
    let magic = 0x800 | dimensionCount
    guard word(0) == magic else {
      throw DataError(
        "'\(path)' is not an IDX file of \(kind): it begins with \(hexadecimal(word(0))), "
          + "not \(hexadecimal(magic)); is it another file under this name?"
      )
    }
    let shape = (1...dimensionCount).map(word)
    var valueCount = 1
    for size in shape {
      let (product, overflow) = valueCount.multipliedReportingOverflow(by: size)
      guard size > 0, !overflow, product <= 1 << 40 else {
        throw DataError("'\(path)' has impossible dimensions \(describe(shape)); fetch it again")
      }
      valueCount = product
    }
    let found = content.count - headerByteCount
    guard found == valueCount else {
      throw DataError(
        "'\(path)' is \(found < valueCount ? "truncated" : "too long"): its header says \(describe(shape)), "
          + "which is \(valueCount) bytes, and \(found) follow; fetch it again"
      )
    }
    self.path = path
    self.shape = shape
    self.content = content
    self.headerByteCount = headerByteCount
  }

  /// The values.
  package var values: ArraySlice<UInt8> { content[headerByteCount...] }
}

private func hexadecimal(_ word: Int) -> String {
  let digits = String(word, radix: 16)
  return "0x" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
}

/// A shape in readable form: `60000 × 28 × 28`.
func describe(_ shape: [Int]) -> String { shape.map(String.init).joined(separator: " × ") }
