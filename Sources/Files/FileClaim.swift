internal import Glibc

/// A file that another run is writing, in one sentence without a full stop.
public struct FileInUse: Error, CustomStringConvertible, Equatable {
  public let description: String

  /// The exit status of a rank that ends because of this.
  public var exitStatus: Int32 { 65 }

  /// Another run is writing its `content` to `path`.
  init(_ content: String, path: String) { description = "another run is writing its \(content) to \(path); name another file" }
}

/// The system's commands for open file description locks, the same on all machines; its headers define them for C only.
private let setLock: Int32 = 37
private let waitForLock: Int32 = 38

// File locks keep runs, and the processes of a run, apart. They are open file description locks, which end when the file is
// closed, however the process ends. A file system without locks gives no protection.
extension File {
  /// Makes sure, before the file is changed, that no other run writes to it; lasts until the file is closed.
  ///
  /// A job that was just killed may take a moment to disappear: this waits for it, up to `patience` seconds. Only regular files
  /// are claimed.
  /// Throws `FileInUse` if another run holds the file.
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

  /// Runs `body` under a lock that excludes the other processes that share the file.
  package func locked(_ body: () throws(FileError) -> Void) throws(FileError) {
    // Not the byte that a run claims.
    while lock(waitForLock, F_WRLCK, on: 1..<2) == EINTR {}
    defer { _ = lock(setLock, F_UNLCK, on: 1..<2) }
    try body()
  }

  /// Locks or unlocks some bytes, which need not exist; returns the error number, 0 for none.
  private func lock(_ command: Int32, _ kind: Int32, on bytes: Range<Int>) -> Int32 {
    var lock = flock()
    (lock.l_type, lock.l_whence) = (Int16(kind), Int16(SEEK_SET))
    (lock.l_start, lock.l_len) = (off_t(bytes.lowerBound), off_t(bytes.count))
    return fcntl(descriptor, command, &lock) == 0 ? 0 : errno
  }
}
