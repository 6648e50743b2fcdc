internal import Buffers
internal import Glibc

/// A file operation that the system refused.
public struct FileError: Error, CustomStringConvertible {
  /// The operation, for example `write`.
  public let operation: String
  /// The path.
  public let path: String
  /// The system's error number.
  public let code: Int32
  /// What is wrong, if the system has no good text for it.
  private let reason: String?

  init(operation: String, path: String, code: Int32, reason: String? = nil) {
    (self.operation, self.path, self.code, self.reason) = (operation, path, code, reason)
  }

  /// The exit status of a rank that ends because of this.
  public var exitStatus: Int32 { 74 }

  /// For example `cannot write step-00000100/run.json: No space left on device`.
  public var description: String { "cannot \(operation) \(path): \(detail)" }

  /// What is wrong, without the operation and the path.
  package var detail: String { reason ?? systemText(code) }

  /// The error of the system call that has just failed.
  package static func last(_ operation: String, _ path: String) -> FileError {
    FileError(operation: operation, path: path, code: errno)
  }

  /// The same error with the name by which the caller knows the file.
  func named(_ name: String) -> FileError { FileError(operation: operation, path: name, code: code, reason: reason) }
}

/// The system's text for an error number.
func systemText(_ code: Int32) -> String { String(cString: strerror(code)) }

/// Done once, on first use: a write beyond the file size limit, or to a pipe without a reader, must fail like a write to a full
/// disk, not end the process.
private let ignoresSignalsOfWrites: Void = {
  for number in [SIGXFSZ, SIGPIPE] { _ = signal(number, SIG_IGN) }
}()

/// An open file: every call is checked, interrupted calls are resumed, and the file is closed when this is dropped.
package struct File: ~Copyable {
  package enum Mode {
    /// An existing file.
    case read
    /// A new file; an existing one is not touched.
    case write
  }

  package let path: String
  package private(set) var descriptor: Int32
  /// Whether it was opened here, by name.
  private let isOwn: Bool

  package init(_ path: String, _ mode: Mode) throws(FileError) {
    let (flags, operation) =
      switch mode {
      case .read: (O_RDONLY, "read")
      case .write: (O_WRONLY | O_CREAT | O_EXCL, "write")
      }
    // O_NONBLOCK: opening a pipe that was left in a directory must not wait for its other end.
    let descriptor = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0o666)
    if descriptor < 0 { throw .last(operation, path) }
    self.init(path, adopting: descriptor)
  }

  /// Takes ownership of `descriptor`, and closes it in the end.
  package init(_ path: String, adopting descriptor: Int32) {
    _ = ignoresSignalsOfWrites
    (self.path, self.descriptor, isOwn) = (path, descriptor, true)
  }

  /// Uses a descriptor that was opened elsewhere and that others may write to: it is neither truncated nor closed.
  package init(_ path: String, borrowing descriptor: Int32) {
    _ = ignoresSignalsOfWrites
    (self.path, self.descriptor, isOwn) = (path, descriptor, false)
  }

  deinit { if isOwn && descriptor >= 0 { _ = close(descriptor) } }

  /// The size in bytes of a regular file that was opened by name, which may be truncated; nil for a pipe, a device, or a
  /// borrowed descriptor.
  package var length: Int? { isOwn ? try? byteCount() : nil }

  /// The size of a regular file in bytes; throws on anything else.
  package func byteCount() throws(FileError) -> Int {
    var information = stat()
    guard fstat(descriptor, &information) == 0 else { throw .last("read", path) }
    let kind = information.st_mode & S_IFMT
    guard kind == S_IFREG else {
      throw FileError(
        operation: "read", path: path, code: kind == S_IFDIR ? EISDIR : EINVAL,
        reason: kind == S_IFDIR ? nil : "it is not a file")
    }
    return Int(information.st_size)
  }

  /// Writes all of `bytes`.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
      if count < 0 && (errno == EINTR || errno == EAGAIN && waitUntilWritable()) { continue }
      if count < 0 { throw .last("write", path) }
      // The system must not write nothing without an error; if it does, we assume that the disk is full.
      if count == 0 { throw FileError(operation: "write", path: path, code: ENOSPC) }
      done += count
    }
  }

  /// Waits until a non-blocking pipe can be written.
  private func waitUntilWritable() -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return poll(&request, 1, -1) > 0 || errno == EINTR
  }

  /// Writes all of `bytes`.
  package func write(_ bytes: [UInt8]) throws(FileError) {
    try bytes.span.withUnsafeBytes { (bytes) throws(FileError) in try write(bytes) }
  }

  /// Fills `bytes` from `offset` on; throws if the file ends too early.
  package func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileError) {
    var done = 0
    while done < bytes.count {
      let count = pread(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw .last("read", path) }
      if count == 0 { throw FileError(operation: "read the end of", path: path, code: EIO) }
      done += count
    }
  }

  /// Waits until the file's bytes are on disk; a pipe or a device has none.
  package func synchronize() throws(FileError) {
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else { throw .last("write", path) }
  }

  /// Closes the file, and reports errors that the system had deferred until then (network file systems do).
  package mutating func finish() throws(FileError) {
    guard isOwn else { return }
    let status = close(descriptor)
    descriptor = -1
    guard status == 0 else { throw .last("write", path) }
  }

  /// The xxHash64 and size of a whole file; takes 1 MiB of memory.
  package static func hash(_ path: String) throws(FileError) -> (hash: UInt64, byteCount: Int) {
    let file = try File(path, .read)
    let byteCount = try file.byteCount()
    var hash = XXHash64()
    let buffer = ByteBuffer(count: min(max(byteCount, 1), 1 << 20))
    var offset = 0
    while offset < byteCount {
      let piece = buffer.bytes(in: 0..<min(buffer.count, byteCount - offset))
      try file.read(into: piece, at: offset)
      hash.update(UnsafeRawBufferPointer(piece))
      offset += piece.count
    }
    return (hash.value, byteCount)
  }
}

extension File {
  /// The end of the last line that ends at or before `end`; 0 if there is none.
  package func endOfLastLine(before end: Int) throws(FileError) -> Int {
    let buffer = ByteBuffer(count: 4096)
    var end = end
    while end > 0 {
      let start = max(0, end - buffer.count)
      let piece = buffer.bytes(in: 0..<end - start)
      try read(into: piece, at: start)
      if let last = piece.lastIndex(of: UInt8(ascii: "\n")) { return start + last + 1 }
      end = start
    }
    return 0
  }

  /// The contents of a text file of at most 64 MiB.
  package static func text(_ path: String) throws(FileError) -> String {
    let file = try File(path, .read)
    let byteCount = try file.byteCount()
    guard byteCount <= 1 << 26 else { throw FileError(operation: "read", path: path, code: EFBIG) }
    let buffer = ByteBuffer(count: byteCount)
    try file.read(into: buffer.bytes, at: 0)
    return String(decoding: buffer.bytes, as: UTF8.self)
  }

  /// Writes a text file and waits until it is on disk.
  package static func writeText(_ text: String, to path: String) throws(FileError) {
    var file = try File(path, .write)
    try file.write(Array(text.utf8))
    try file.synchronize()
    try file.finish()
  }
}
