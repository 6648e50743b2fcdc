internal import Glibc

/// Where progress is shown: whether a person watches it, and how wide their window is.
package enum Terminal {
  /// The width in columns of the terminal on which this process's standard error ends; nil where there is none.
  ///
  /// A rank that `mpirun` started writes into a pipe, and `mpirun` passes it on to its own standard error. So rank 0 looks at
  /// its parent as well: where that is on this host and writes to a terminal, a person watches.
  package static var width: Int? {
    if isatty(STDERR_FILENO) == 1 { return width(of: STDERR_FILENO) }
    guard unsafe getenv("OMPI_COMM_WORLD_SIZE") != nil else { return nil }
    // Opening the link opens the terminal itself; it is used for its size alone.
    let descriptor = unsafe open("/proc/\(getppid())/fd/2", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { _ = close(descriptor) }
    return isatty(descriptor) == 1 ? width(of: descriptor) : nil
  }

  private static func width(of descriptor: Int32) -> Int {
    var size = winsize()
    guard unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Writes to standard error in one piece, so that lines of several processes do not mix.
  package static func write(_ text: String) {
    Array(text.utf8).withUnsafeBytes { bytes in _ = unsafe Glibc.write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
  }
}
