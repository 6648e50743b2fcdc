internal import Buffers
internal import Files

#if canImport(Glibc)
  import Glibc
#endif

/// The contents of a regular file.
func readFile(_ path: String) throws(DataError) -> [UInt8] {
  let file = try refusing("open", path) { () throws(FileError) in try File(path, .read) }
  let byteCount = try refusing("read", path) { () throws(FileError) in try file.byteCount() }
  try DataError.requireMemory(byteCount, of: path)
  var bytes = [UInt8](repeating: 0, count: byteCount)
  try refusing("read", path) { () throws(FileError) in
    var span = bytes.mutableSpan
    try span.withUnsafeMutableBytes { (bytes) throws(FileError) in try file.read(into: bytes, at: 0) }
  }
  return bytes
}

/// Runs `body`, and throws what the system refuses as a fault of the data.
private func refusing<Result: ~Copyable>(
  _ operation: String, _ path: String, _ body: () throws(FileError) -> Result
) throws(DataError) -> Result {
  do { return try body() } catch {
    throw DataError("cannot \(operation) '\(path)': \(error.code == EISDIR ? "it is not a file" : error.detail)")
  }
}

/// The contents of a file, decompressed if its name ends in `.gz`.
func readDecompressed(_ path: String) throws(DataError) -> [UInt8] {
  let bytes = try readFile(path)
  return path.hasSuffix(".gz") ? try decompressGzip(bytes, path: path) : bytes
}

/// The path of the first of `names`, each followed by its `.gz` form, that exists in a directory; nil if none does.
///
/// A folder of such a name is found only if there is nothing else.
func firstFile(of names: [String], in directory: String) -> String? {
  let paths = names.flatMap { ["\(directory)/\($0)", "\(directory)/\($0).gz"] }
  let present = paths.filter { access($0, F_OK) == 0 }
  return present.first { !Directory.isDirectory($0) } ?? present.first
}

/// The names in a directory, in the order of their bytes, without those that begin with a dot.
///
/// - Parameters:
///   - path: the directory.
///   - advice: what the directory should be, for the error message.
/// - Returns: files and folders alike, without the path.
/// - Throws: `DataError` if the directory cannot be opened.
func namesInDirectory(_ path: String, advice: String) throws(DataError) -> [String] {
  do { return try Directory.names(in: path).filter { !$0.hasPrefix(".") } } catch {
    throw DataError("cannot open the directory '\(path)': \(error.detail); \(advice)")
  }
}
