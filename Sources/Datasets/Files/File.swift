#if canImport(Glibc)
  import Glibc
#endif

/// The contents of a regular file.
func readFile(_ path: String) throws(DataError) -> [UInt8] {
  // Non-blocking, so that a named pipe without a writer is an error below and not a wait.
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { throw DataError("cannot open '\(path)': \(reason())") }
  defer { close(descriptor) }
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw DataError("cannot read '\(path)': \(reason())") }
  guard status.st_mode & S_IFMT == S_IFREG else {
    throw DataError("cannot read '\(path)': it is not a file")
  }
  let byteCount = Int(status.st_size)
  try DataError.requireMemory(byteCount, of: path)
  var failure: String?
  let bytes = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, filled in
    while filled < byteCount {
      let count = read(descriptor, buffer.baseAddress! + filled, byteCount - filled)
      if count < 0 && errno == EINTR { continue }
      if count < 0 { failure = reason() }
      guard count > 0 else { return }
      filled += count
    }
  }
  if let failure { throw DataError("cannot read '\(path)': \(failure)") }
  return bytes
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
  let present = names.flatMap { ["\(directory)/\($0)", "\(directory)/\($0).gz"] }.filter(exists)
  return present.first { !isDirectory($0) } ?? present.first
}

/// Whether anything of any kind has this name.
private func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Whether this is the name of a directory, or of a link to one.
private func isDirectory(_ path: String) -> Bool {
  var status = stat()
  return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

/// The names in a directory, in the order of their bytes, without those that begin with a dot.
///
/// - Parameters:
///   - path: the directory.
///   - advice: what the directory should be, for the error message.
/// - Returns: files and folders alike, without the path.
/// - Throws: `DataError` if the directory cannot be opened.
func namesInDirectory(_ path: String, advice: String) throws(DataError) -> [String] {
  guard let directory = opendir(path) else {
    throw DataError("cannot open the directory '\(path)': \(reason()); \(advice)")
  }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if !name.hasPrefix(".") { names.append(name) }
  }
  return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}

/// The system's text for why its last call failed.
private func reason() -> String { String(cString: strerror(errno)) }
