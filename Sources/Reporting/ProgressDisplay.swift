internal import Files
internal import Glibc

/// The progress that rank 0 shows: one line that is rewritten on a terminal, plain lines elsewhere, nothing if quiet.
///
/// It goes to standard error, so that standard output holds only the summaries.
public final class ProgressDisplay {
  /// The form of the progress output.
  public enum Style: Hashable, Sendable {
    /// One line, rewritten in place, cut to `width` columns.
    case line(width: Int)
    /// A line for each epoch, and one at least `interval` seconds after the previous line.
    case lines(interval: Double)
    /// Only messages.
    case quiet

    /// The style that suits the destination of standard error.
    public static func suitable(isQuiet: Bool) -> Style {
      if isQuiet { return .quiet }
      return Terminal.width.map { .line(width: $0) } ?? .lines(interval: 10)
    }
  }

  /// The progress of a run.
  public struct Progress: Hashable, Sendable {
    /// The epoch, from 1.
    public var epoch: Int
    /// The number of epochs planned.
    public var epochs: Int
    /// The number of steps done.
    public var step: Int
    /// The number of steps planned.
    public var steps: Int
    /// The samples processed by this process's job since it started, over all ranks.
    public var samples: Int
    /// The samples planned from here to the end; minibatches may grow, so that steps are a worse measure of the time left.
    public var samplesLeft: Int
    /// The mean loss of the last minibatches.
    public var loss: Double
    /// Whether that is the loss of each token of a text, so that its perplexity and bits are shown too.
    public var isOfText: Bool
    /// The share of the targets of test samples classified correctly at the last evaluation.
    public var accuracy: Double?
    /// The bytes that the busiest rank sent in the last step.
    public var bytesPerStep: Int
    /// Wall time since the job started.
    public var seconds: Double

    /// The progress of a run.
    public init(
      epoch: Int, epochs: Int, step: Int, steps: Int, samples: Int, samplesLeft: Int, loss: Double, isOfText: Bool = false,
      accuracy: Double?, bytesPerStep: Int, seconds: Double
    ) {
      self.epoch = epoch
      self.epochs = epochs
      self.step = step
      self.steps = steps
      self.samples = samples
      self.samplesLeft = samplesLeft
      self.loss = loss
      self.isOfText = isOfText
      self.accuracy = accuracy
      self.bytesPerStep = bytesPerStep
      self.seconds = seconds
    }
  }

  private let style: Style
  private let write: (String) -> Void
  private var lastShown = -Double.infinity
  private var isLineOpen = false
  private var pace = Pace()

  /// A display on standard error.
  public convenience init(_ style: Style) {
    self.init(style) { Terminal.write($0) }
  }

  /// A display that gives its text to `write`.
  package init(_ style: Style, write: @escaping (String) -> Void) {
    self.style = style
    self.write = write
  }

  /// Whether ``update(_:)`` would show something at this time; for callers whose numbers are costly to compute.
  public func isDue(seconds: Double) -> Bool {
    switch style {
    case .line: seconds - lastShown >= 0.1
    case .lines(let interval): seconds - max(lastShown, 0) >= interval
    case .quiet: false
    }
  }

  /// Shows the progress of the run if it is due.
  public func update(_ progress: Progress) {
    pace.add(samples: progress.samples, seconds: progress.seconds)
    guard isDue(seconds: progress.seconds) else { return }
    show(progress)
  }

  /// Shows the end of an epoch or another evaluation; on a terminal, as a line that stays.
  public func evaluated(_ progress: Progress) {
    pace.add(samples: progress.samples, seconds: progress.seconds)
    switch style {
    case .line:
      message(text(progress, withTimeLeft: false))
      show(progress)
    case .lines: show(progress)
    case .quiet: break
    }
  }

  /// Prints a line that stays, in any style: a warning, or where a checkpoint was written.
  public func message(_ text: String) {
    write((isLineOpen ? Self.clearLine : "") + text + "\n")
    isLineOpen = false
  }

  /// Removes the changing line, so that the next output starts on its own line.
  public func finish() {
    if isLineOpen { write(Self.clearLine) }
    isLineOpen = false
  }

  private func show(_ progress: Progress) {
    lastShown = progress.seconds
    let text = text(progress, withTimeLeft: true)
    switch style {
    case .line(let width):
      // A line as wide as the window would wrap, and the next one could not replace it.
      write(Self.clearLine + text.prefix(max(width - 1, 0)))
      isLineOpen = true
    case .lines: write(text + "\n")
    case .quiet: break
    }
  }

  /// Carriage return, and clear to the end of the line.
  private static let clearLine = "\r\u{1B}[K"

  private func text(_ progress: Progress, withTimeLeft: Bool) -> String {
    var parts = [
      "epoch \(progress.epoch)/\(progress.epochs)", "step \(progress.step)/\(progress.steps)",
      "loss \(decimal(progress.loss, digits: 3))",
    ]
    if progress.isOfText {
      parts.append("perplexity \(decimal(exp(progress.loss), digits: 2))")
      parts.append("\(decimal(progress.loss / log(2), digits: 2)) bits/character")
    }
    if let accuracy = progress.accuracy { parts.append("accuracy \(decimal(accuracy * 100, digits: 2)) %") }
    if progress.seconds > 0 {
      let speed = withPrefix(Double(progress.samples) / progress.seconds)
      parts.append(speed + (speed.last == " " ? "samples/s" : " samples/s"))
    }
    if progress.bytesPerStep > 0 { parts.append("\(withPrefix(Double(progress.bytesPerStep)))B/step") }
    if withTimeLeft, let left = pace.seconds(for: progress.samplesLeft) {
      parts.append("\(duration(left)) left")
    } else {
      parts.append(duration(progress.seconds))
    }
    return parts.joined(separator: "  ")
  }
}

/// The pace of the last samples: the last half minute weighs as much as everything before it.
private struct Pace {
  private var last: (samples: Int, seconds: Double)?
  private var secondsPerSample: Double?

  mutating func add(samples: Int, seconds: Double) {
    guard samples > 0 else { return }
    let (earlier, start) = last ?? (0, 0)
    guard samples > earlier, seconds >= start else { return }
    let pace = (seconds - start) / Double(samples - earlier)
    let weight = 1 - exp2(-(seconds - start) / 30)
    // In the first half minute, the plain mean since the start is the better estimate.
    let mean = seconds / Double(samples)
    secondsPerSample = seconds < 30 ? mean : (secondsPerSample ?? mean) * (1 - weight) + pace * weight
    last = (samples, seconds)
  }

  func seconds(for samples: Int) -> Double? { secondsPerSample.map { $0 * Double(max(samples, 0)) } }
}
