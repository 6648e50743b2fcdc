internal import Glibc

/// A file that another run writes, in one sentence without a full stop.
public struct FileInUse: Error, CustomStringConvertible, Equatable {
  public let description: String

  /// The exit status of a rank that ends because of this.
  public var exitStatus: Int32 { 65 }

  /// Another run writes its `content` to `path`.
  init(_ content: String, path: String) { description = "another run is writing its \(content) to \(path); name another file" }
}

/// The system's numbers for locks of an open file, the same on all machines; its headers give them to C alone.
private let setLock: Int32 = 37
private let waitForLock: Int32 = 38

// Locks on a file keep runs, and the processes of a run, apart. They are those of an open file, which end when it is closed, however the
// process ends. A file system without locks goes without.
extension File {
  /// Makes sure that no other run writes to this file, before anything in it is changed; lasts until the file is closed.
  ///
  /// A job that was just killed may need a moment to vanish: it is waited for, up to `patience` seconds. What is not a regular file
  /// belongs to nobody.
  /// Throws `FileInUse` where another run keeps it.
  package func claim(for content: String, patience: Double) throws(FileInUse) {
    guard (try? byteCount()) != nil else { return }
    let deadline = ContinuousClock.now + .seconds(patience)
    while case let code = lock(setLock, F_WRLCK, on: 0..<1), code == EAGAIN || code == EACCES {
      guard ContinuousClock.now < deadline else {
        throw FileInUse(content, path: path)
      }
      usleep(50_000)
    }
  }

  /// Does something while no other process does that shares the file with this one.
  package func locked(_ body: () throws(FileError) -> Void) throws(FileError) {
    // Not the byte that a run claims.
    while lock(waitForLock, F_WRLCK, on: 1..<2) == EINTR {}
    defer { _ = lock(setLock, F_UNLCK, on: 1..<2) }
    try body()
  }

  /// Locks or unlocks some bytes, which need not be there; returns the error number, 0 for none.
  private func lock(_ command: Int32, _ kind: Int32, on bytes: Range<Int>) -> Int32 {
    var lock = flock()
    (lock.l_type, lock.l_whence) = (Int16(kind), Int16(SEEK_SET))
    (lock.l_start, lock.l_len) = (off_t(bytes.lowerBound), off_t(bytes.count))
    return unsafe fcntl(descriptor, command, &lock) == 0 ? 0 : errno
  }
}
