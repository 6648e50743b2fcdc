internal import Buffers
internal import Glibc

/// An operation on a file that the system refused.
public struct FileError: Error, CustomStringConvertible {
  /// What was tried, for example `write`.
  public let operation: String
  /// On which path.
  public let path: String
  /// The system's error number.
  public let code: Int32
  /// What is wrong, where the system has no good words for it.
  private let reason: String?

  init(operation: String, path: String, code: Int32, reason: String? = nil) {
    (self.operation, self.path, self.code, self.reason) = (operation, path, code, reason)
  }

  /// The exit status of a rank that ends because of this.
  public var exitStatus: Int32 { 74 }

  /// For example `cannot write step-00000100/run.json: No space left on device`.
  public var description: String { "cannot \(operation) \(path): \(reason ?? systemText(code))" }

  /// The error of the system call that has just failed.
  package static func last(_ operation: String, _ path: String) -> FileError {
    FileError(operation: operation, path: path, code: errno)
  }

  /// The same error in the words of the one who named the file otherwise.
  func named(_ name: String) -> FileError { FileError(operation: operation, path: name, code: code, reason: reason) }
}

/// The system's words for an error number.
func systemText(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

/// Done once, at first use: a write beyond the limit of file sizes, or to a pipe that nobody reads any more, must fail as one to a
/// full disk does, not end the process.
private let ignoresSignalsOfWrites: Void = {
  for number in [SIGXFSZ, SIGPIPE] { _ = signal(number, SIG_IGN) }
}()

/// An open file: every call is checked, interrupted calls go on, and the file is closed when this is dropped.
package struct File: ~Copyable {
  package enum Mode {
    /// An existing file.
    case read
    /// A new one; what is there already is not touched.
    case write
  }

  package let path: String
  package private(set) var descriptor: Int32
  /// Whether it was opened here, by its name.
  private let isOwn: Bool

  package init(_ path: String, _ mode: Mode) throws(FileError) {
    let (flags, operation) =
      switch mode {
      case .read: (O_RDONLY, "read")
      case .write: (O_WRONLY | O_CREAT | O_EXCL, "write")
      }
    // O_NONBLOCK: opening a pipe that somebody left in a directory must not wait for its other end.
    let descriptor = unsafe open(path, flags | O_CLOEXEC | O_NONBLOCK, 0o666)
    if descriptor < 0 { throw .last(operation, path) }
    self.init(path, adopting: descriptor)
  }

  /// What `descriptor` is open on, and closes in the end.
  package init(_ path: String, adopting descriptor: Int32) {
    _ = ignoresSignalsOfWrites
    (self.path, self.descriptor, isOwn) = (path, descriptor, true)
  }

  /// What somebody else opened and others may write to as well: it is neither cut nor closed.
  package init(_ path: String, borrowing descriptor: Int32) {
    _ = ignoresSignalsOfWrites
    (self.path, self.descriptor, isOwn) = (path, descriptor, false)
  }

  deinit { if isOwn && descriptor >= 0 { _ = close(descriptor) } }

  /// The size in bytes of a regular file that was opened by its name, which may be cut; nil for what has no past here: a pipe, a
  /// device, or what somebody else opened.
  package var length: Int? { isOwn ? try? byteCount() : nil }

  /// The size of a regular file in bytes; throws on anything else.
  package func byteCount() throws(FileError) -> Int {
    var information = stat()
    guard unsafe fstat(descriptor, &information) == 0 else { throw .last("read", path) }
    let kind = information.st_mode & S_IFMT
    guard kind == S_IFREG else { throw FileError(operation: "read", path: path, code: kind == S_IFDIR ? EISDIR : EINVAL) }
    return Int(information.st_size)
  }

  /// Writes all of `bytes`.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var done = 0
    while done < bytes.count {
      let count = unsafe Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
      if count < 0 && (errno == EINTR || errno == EAGAIN && waitUntilWritable()) { continue }
      if count < 0 { throw .last("write", path) }
      // The system may not write nothing without an error; if it does, the disk is full as far as we can tell.
      if count == 0 { throw FileError(operation: "write", path: path, code: ENOSPC) }
      done += count
    }
  }

  /// Waits for somebody who empties a pipe that does not wait by itself.
  private func waitUntilWritable() -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return unsafe poll(&request, 1, -1) > 0 || errno == EINTR
  }

  /// Writes all of `bytes`.
  package func write(_ bytes: [UInt8]) throws(FileError) {
    try bytes.span.withUnsafeBytes { (bytes) throws(FileError) in unsafe try write(bytes) }
  }

  /// Fills `bytes` with those from `offset`; throws where the file ends before.
  package func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileError) {
    var done = 0
    while done < bytes.count {
      let count = unsafe pread(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw .last("read", path) }
      if count == 0 { throw FileError(operation: "read the end of", path: path, code: EIO) }
      done += count
    }
  }

  /// Waits until the file's bytes are on the disk; a pipe or a device has none.
  package func synchronize() throws(FileError) {
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else { throw .last("write", path) }
  }

  /// Closes the file, and reports what the system had held back until then (network file systems do).
  package mutating func finish() throws(FileError) {
    guard isOwn else { return }
    let status = close(descriptor)
    descriptor = -1
    guard status == 0 else { throw .last("write", path) }
  }

  /// The xxHash64 of a whole file; a mebibyte of memory.
  package static func hash(_ path: String) throws(FileError) -> (hash: UInt64, byteCount: Int) {
    let file = try File(path, .read)
    let byteCount = try file.byteCount()
    var hash = XXHash64()
    let buffer = ByteBuffer(count: min(max(byteCount, 1), 1 << 20))
    var offset = 0
    while offset < byteCount {
      let piece = unsafe buffer.bytes(in: 0..<min(buffer.count, byteCount - offset))
      unsafe try file.read(into: piece, at: offset)
      unsafe hash.update(UnsafeRawBufferPointer(piece))
      offset += piece.count
    }
    return (hash.value, byteCount)
  }
}

extension File {
  /// Where the last line ends that ends at `end` or before; 0 where there is none.
  package func endOfLastLine(before end: Int) throws(FileError) -> Int {
    let buffer = ByteBuffer(count: 4096)
    var end = end
    while end > 0 {
      let start = max(0, end - buffer.count)
      let piece = unsafe buffer.bytes(in: 0..<end - start)
      unsafe try read(into: piece, at: start)
      if let last = unsafe piece.lastIndex(of: UInt8(ascii: "\n")) { return start + last + 1 }
      end = start
    }
    return 0
  }

  /// A text file of at most 64 MiB.
  package static func text(_ path: String) throws(FileError) -> String {
    let file = try File(path, .read)
    let byteCount = try file.byteCount()
    guard byteCount <= 1 << 26 else { throw FileError(operation: "read", path: path, code: EFBIG) }
    let buffer = ByteBuffer(count: byteCount)
    unsafe try file.read(into: buffer.bytes, at: 0)
    return unsafe String(decoding: buffer.bytes, as: UTF8.self)
  }

  /// Writes a text file and waits until it is on the disk.
  package static func writeText(_ text: String, to path: String) throws(FileError) {
    var file = try File(path, .write)
    try file.write(Array(text.utf8))
    try file.synchronize()
    try file.finish()
  }
}
