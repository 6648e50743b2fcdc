internal import Glibc

/// Standard input, output and error of this process.
public enum StandardStreams {
  /// Opens `/dev/null` in the place of whichever of the three is closed, so that no other file gets its number.
  ///
  /// To be called before anything is opened. Using one of them still fails, as it does when it is closed: it is opened the wrong way
  /// round. What is said on standard error is lost.
  public static func openClosed() {
    for (number, flags) in [(STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDWR)]
    where fcntl(number, F_GETFD) < 0 && errno == EBADF {
      let descriptor = unsafe open("/dev/null", flags)
      guard descriptor >= 0 && descriptor != number else { continue }
      _ = dup2(descriptor, number)
      _ = close(descriptor)
    }
  }

  /// Writes all of `text` to standard output, at once; somebody who has gone away, having read enough, is no error.
  public static func write(_ text: String) throws(FileError) {
    do { try File("standard output", borrowing: STDOUT_FILENO).write(Array(text.utf8)) } catch {
      if error.code != EPIPE { throw error }
    }
  }

  /// What is wrong with the words that this process was started with, one sentence; nil where all are UTF-8.
  ///
  /// Others would be changed on the way, and name other files.
  public static var argumentFault: String? {
    for number in 1..<max(1, Int(CommandLine.argc)) {
      guard let word = unsafe CommandLine.unsafeArgv[number] else { break }
      if unsafe String(validatingCString: word) == nil {
        return "argument \(number), '\(unsafe String(cString: word))', is not UTF-8; rename the file, or name a link to it"
      }
    }
    return nil
  }
}
