internal import Glibc

/// Standard input, output and error of this process.
public enum StandardStreams {
  /// Opens `/dev/null` in place of each of the three that is closed, so that no other file gets its number.
  ///
  /// Call it before anything is opened. Using such a stream still fails, as on a closed one, because it is opened in the wrong
  /// direction. Output to standard error is lost.
  public static func openClosed() {
    for (number, flags) in [(STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDWR)]
    where fcntl(number, F_GETFD) < 0 && errno == EBADF {
      let descriptor = open("/dev/null", flags)
      guard descriptor >= 0 && descriptor != number else { continue }
      _ = dup2(descriptor, number)
      _ = close(descriptor)
    }
  }

  /// Writes all of `text` to standard output, at once; it is not an error if the reader has closed the pipe.
  public static func write(_ text: String) throws(FileError) {
    do { try File("standard output", borrowing: STDOUT_FILENO).write(Array(text.utf8)) } catch {
      if error.code != EPIPE { throw error }
    }
  }

  /// What is wrong with the arguments that this process was started with, in one sentence; nil if all are UTF-8.
  ///
  /// Other arguments would be altered on the way, and name other files.
  public static var argumentFault: String? {
    for number in 1..<max(1, Int(CommandLine.argc)) {
      guard let word = CommandLine.unsafeArgv[number] else { break }
      if String(validatingCString: word) == nil {
        return "argument \(number), '\(String(cString: word))', is not UTF-8; rename the file, or name a link to it"
      }
    }
    return nil
  }
}
