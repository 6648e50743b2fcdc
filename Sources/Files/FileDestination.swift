internal import Glibc

/// The destination of an output: what its name stands for, and how it is written.
///
/// - A regular file is replaced: written next to its place under a temporary name and renamed, so that at every moment it is
///   the old file or the whole new one. It keeps its permissions. Links are followed, and kept.
/// - A pipe or a device is written as it is, never replaced or truncated.
/// - `-`, `/dev/stdout`, `/dev/stderr` and `/dev/fd/N` are descriptors of this process, written at their current position.
/// - Directories, sockets and disks are refused.
public final class FileDestination {
  private enum Place {
    case file([CChar])
    case stream([CChar], isPipe: Bool)
    case descriptor(Int32)
  }

  /// The name as it was given.
  public let name: String
  private let place: Place
  /// The open pipe or device, from ``open()`` on.
  private var stream: Int32 = -1

  /// Determines what `name` stands for; nothing is opened or written.
  public init(_ name: String) throws(FileError) {
    self.name = name
    place = try FileDestination.place(of: name)
  }

  deinit { if stream >= 0 { _ = close(stream) } }

  private static func place(of name: String) throws(FileError) -> Place {
    func refused(_ reason: String) -> FileError { FileError(operation: "write", path: name, code: EINVAL, reason: reason) }
    switch try FileName.target(of: name, standard: STDOUT_FILENO, to: "write") {
    case .descriptor(let number): return .descriptor(number)
    case .path(let path, let kind):
      switch kind {
      case nil, S_IFREG?: return .file(path)
      case S_IFIFO?, S_IFCHR?: return .stream(path, isPipe: kind == S_IFIFO)
      case S_IFDIR?: throw FileError(operation: "write", path: name, code: EISDIR)
      case S_IFSOCK?: throw refused("it is a socket, not a file")
      default: throw refused("it is a disk, not a file")
      }
    }
  }

  /// Whether it is this process's standard output.
  public var isStandardOutput: Bool {
    if case .descriptor(STDOUT_FILENO) = place { true } else { false }
  }

  /// Whether it is a descriptor opened elsewhere, which other processes cannot use.
  package var isDescriptor: Bool {
    if case .descriptor = place { true } else { false }
  }

  /// Whether it is a regular file, or will be.
  package var isFile: Bool {
    if case .file = place { true } else { false }
  }

  /// Checks, before there is anything to write, that it can be written.
  ///
  /// A pipe or a device is opened, and stays open; this waits up to 5 s for the reader of a pipe.
  public func open() throws(FileError) {
    switch place {
    case .file(let path): _ = try isReplaceable(path)
    case .stream(let path, let isPipe): if stream < 0 { stream = try openStream(path, isPipe: isPipe) }
    case .descriptor(let number): try check(number)
    }
  }

  /// Opens it to write at its end; a missing file is created.
  package func append() throws(FileError) -> File {
    switch place {
    case .file(let path):
      let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0o666)
      guard descriptor >= 0 else { throw .last("write", name) }
      return File(name, adopting: descriptor)
    case .stream:
      try open()
      defer { stream = -1 }
      return File(name, adopting: stream)
    case .descriptor(let number):
      try check(number)
      return File(name, borrowing: number)
    }
  }

  /// Writes what `body` writes: all of it or, for a regular file, nothing; the previous contents are lost.
  ///
  /// `body` is called again if the file turns out not to be replaceable, because it is itself a mount point.
  package func write<Result>(_ body: (borrowing File) throws(FileError) -> Result) throws(FileError) -> Result {
    do {
      // Hours may have passed: the current state counts.
      switch isFile ? try FileDestination.place(of: name) : place {
      case .file(let path):
        guard try isReplaceable(path), let result = try replace(path, body) else { return try overwrite(path, body) }
        return result
      case .stream(let path, let isPipe):
        if stream < 0 { stream = try openStream(path, isPipe: isPipe) }
        defer {
          _ = close(stream)
          stream = -1
        }
        return try body(File(name, borrowing: stream))
      case .descriptor(let number):
        try check(number)
        return try body(File(name, borrowing: number))
      }
    } catch { throw error.named(name) }
  }

  /// Writes `bytes`: all of them or, for a regular file, nothing; the previous contents are lost.
  public func write(_ bytes: [UInt8]) throws(FileError) {
    try write { (file) throws(FileError) in try file.write(bytes) }
  }

  /// Writes `start` and then `rest` in the same way.
  package func write(_ start: [UInt8], _ rest: UnsafeRawBufferPointer) throws(FileError) {
    try write { (file) throws(FileError) in
      try file.write(start)
      try file.write(rest)
    }
  }

  // MARK: Ways to write

  /// Whether a new file can replace the one at `path`; false if that must be overwritten, because its directory takes no new
  /// files.
  private func isReplaceable(_ path: [CChar]) throws(FileError) -> Bool {
    let isThere = access(path, F_OK) == 0
    if isThere {
      guard faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 else { throw .last("write", name) }
    }
    if faccessat(AT_FDCWD, FileName.parent(of: path), W_OK | X_OK, AT_EACCESS) == 0 { return true }
    guard isThere else { throw .last("write", name) }
    return false
  }

  /// Writes next to `path` and renames; nil if the system does not allow that file to be replaced.
  private func replace<Result>(
    _ path: [CChar], _ body: (borrowing File) throws(FileError) -> Result
  ) throws(FileError) -> Result? {
    let directory = FileName.parent(of: path)
    let temporary = temporaryName(in: directory)
    // Exclusive: a concurrent writer has another name.
    let descriptor = Glibc.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw .last("write", name) }
    var file = File(name, adopting: descriptor)
    do throws(FileError) {
      keepPermissions(of: path, for: descriptor)
      let result = try body(file)
      try file.synchronize()
      try file.finish()
      guard rename(temporary, path) == 0 else {
        let code = errno
        _ = unlink(temporary)
        // A single file mounted into a container.
        if code == EBUSY { return nil }
        throw FileError(operation: "write", path: name, code: code)
      }
      try FileDestination.synchronize(directory, name)
      return result
    } catch {
      _ = unlink(temporary)
      throw error
    }
  }

  private func overwrite<Result>(
    _ path: [CChar], _ body: (borrowing File) throws(FileError) -> Result
  ) throws(FileError) -> Result {
    let descriptor = Glibc.open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .last("write", name) }
    var file = File(name, adopting: descriptor)
    let result = try body(file)
    try file.synchronize()
    try file.finish()
    return result
  }

  /// A unique name; not the file's own name with a suffix, because that may already have the maximum length.
  private func temporaryName(in directory: [CChar]) -> [CChar] {
    directory.dropLast() + "/.morse-\(hexadecimal(.random(in: 0 ... .max))).partial".utf8CString
  }

  /// Gives a new file the permissions and, as far as that is allowed, the owner of the file it replaces.
  private func keepPermissions(of path: [CChar], for descriptor: Int32) {
    var (old, new) = (stat(), stat())
    guard stat(path, &old) == 0, fstat(descriptor, &new) == 0 else { return }
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) { _ = fchown(descriptor, old.st_uid, old.st_gid) }
    _ = fchmod(descriptor, old.st_mode & 0o777)
  }

  private static func synchronize(_ directory: [CChar], _ name: String) throws(FileError) {
    let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    // A directory that is writable but not readable: the file is there.
    guard descriptor >= 0 else { return }
    defer { _ = close(descriptor) }
    // Some network file systems do not support this call on directories, and do not need it.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw .last("write", name) }
  }

  /// Opens a pipe or a device.
  private func openStream(_ path: [CChar], isPipe: Bool) throws(FileError) -> Int32 {
    // A reader that was started at the same time may need a moment.
    let deadline = ContinuousClock.now + .seconds(5)
    while true {
      let descriptor = Glibc.open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
      if descriptor >= 0 {
        // From here on, writes wait for the reader.
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        return descriptor
      }
      guard isPipe && errno == ENXIO || errno == EINTR else { throw .last("write", name) }
      guard ContinuousClock.now < deadline else {
        throw FileError(operation: "write", path: name, code: ENXIO, reason: "it is a pipe that no process reads from")
      }
      usleep(20_000)
    }
  }

  /// Throws if a descriptor is not open for writing.
  private func check(_ number: Int32) throws(FileError) {
    let flags = fcntl(number, F_GETFL)
    guard flags >= 0 else { throw FileError.closed(number, name, to: "write") }
    guard flags & O_ACCMODE != O_RDONLY else { throw FileError(operation: "write", path: name, code: EBADF) }
  }
}

extension FileError {
  /// The error for a descriptor that is not open.
  static func closed(_ number: Int32, _ name: String, to operation: String) -> FileError {
    let advice = number > STDERR_FILENO ? "; mpirun passes on 0, 1 and 2 alone" : ""
    return FileError(operation: operation, path: name, code: EBADF, reason: "descriptor \(number) is not open\(advice)")
  }
}
