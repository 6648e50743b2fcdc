internal import Glibc

/// Where progress is shown: whether that is a terminal, and how wide it is.
package enum Terminal {
  /// The width in columns of the terminal that shows this process's standard error; nil if there is none.
  ///
  /// A rank started by `mpirun` writes to a pipe, which `mpirun` forwards to its own standard error. So rank 0 also checks its
  /// parent: if that is on this host and writes to a terminal, the output appears there.
  package static var width: Int? {
    if isatty(STDERR_FILENO) == 1 { return width(of: STDERR_FILENO) }
    guard getenv("OMPI_COMM_WORLD_SIZE") != nil else { return nil }
    // Opening the link opens the terminal itself; only its size is used.
    let descriptor = open("/proc/\(getppid())/fd/2", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { _ = close(descriptor) }
    return isatty(descriptor) == 1 ? width(of: descriptor) : nil
  }

  private static func width(of descriptor: Int32) -> Int {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Writes to standard error in one piece, so that lines of several processes do not mix.
  package static func write(_ text: String) {
    Array(text.utf8).withUnsafeBytes { bytes in _ = Glibc.write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
  }
}
