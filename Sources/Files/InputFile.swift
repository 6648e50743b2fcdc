internal import Glibc

/// Reads the input that a name stands for: a file, a pipe, or a descriptor of this process (`-`, `/dev/stdin`, `/dev/fd/N`).
public enum InputFile {
  /// All bytes up to the end.
  ///
  /// Waits up to 5 s for the writer of a named pipe.
  ///
  /// - Parameters:
  ///   - name: The name as it was given.
  ///   - limit: The maximum number of bytes; a device may never end.
  public static func bytes(of name: String, limit: Int = 1 << 36) throws(FileError) -> [UInt8] {
    switch try FileName.target(of: name, standard: STDIN_FILENO, to: "read") {
    case .descriptor(let number):
      guard fcntl(number, F_GETFL) >= 0 else { throw .closed(number, name, to: "read") }
      return try read(number, name, limit)
    case .path(let path, let kind):
      if kind == S_IFSOCK {
        throw FileError(operation: "read", path: name, code: EINVAL, reason: "it is a socket, not a file")
      }
      let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
      guard descriptor >= 0 else { throw .last("read", name) }
      defer { _ = close(descriptor) }
      if kind == S_IFIFO, !wait(for: descriptor, milliseconds: 5000) {
        throw FileError(operation: "read", path: name, code: ENXIO, reason: "it is a pipe that no process writes into")
      }
      return try read(descriptor, name, limit)
    }
  }

  /// Whether it is a file that every process of a job can read for itself, rather than a pipe, a device or a descriptor.
  public static func isFile(_ name: String) -> Bool {
    switch try? FileName.target(of: name, standard: STDIN_FILENO, to: "read") {
    case .descriptor?: false
    case .path(_, let kind)?: kind != S_IFIFO && kind != S_IFCHR
    case nil: true
    }
  }

  private static func read(_ descriptor: Int32, _ name: String, _ limit: Int) throws(FileError) -> [UInt8] {
    var bytes: [UInt8] = []
    let piece = 1 << 16
    while true {
      let start = bytes.count
      guard start <= limit else { throw FileError(operation: "read", path: name, code: EFBIG) }
      bytes.append(contentsOf: repeatElement(0, count: piece))
      let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + start, piece) }
      let code = errno
      bytes.removeLast(piece - max(count, 0))
      if count == 0 { return bytes }
      guard count < 0 else { continue }
      if code == EAGAIN {
        _ = wait(for: descriptor, milliseconds: -1)
      } else if code != EINTR {
        throw FileError(operation: "read", path: name, code: code)
      }
    }
  }

  /// Waits until there is something to read, or the end; false on a timeout.
  private static func wait(for descriptor: Int32, milliseconds: Int32) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&request, 1, milliseconds) != 0
  }
}
