internal import Collectives
internal import Files
internal import Transport

/// Shows what is being measured: one line that changes on a terminal, an occasional line elsewhere.
final class MeasuringProgress {
  private let width: Int?
  private let isQuiet: Bool
  private let stopwatch = Stopwatch()
  private var lastShown = 0.0
  private var isLineOpen = false

  init(isQuiet: Bool) {
    self.isQuiet = isQuiet
    width = Terminal.width
  }

  /// Shows that `what` is being measured.
  func show(_ what: String) {
    guard !isQuiet else { return }
    let text = "measuring \(what)"
    if let width {
      Terminal.write("\r\u{1B}[K" + text.prefix(max(width - 1, 0)))
      isLineOpen = true
    } else if stopwatch.seconds - lastShown >= 5 {
      Terminal.write("\(text), after \(duration(stopwatch.seconds))\n")
      lastShown = stopwatch.seconds
    }
  }

  /// Removes the changing line.
  func finish() {
    if isLineOpen { Terminal.write("\r\u{1B}[K") }
    isLineOpen = false
  }
}
