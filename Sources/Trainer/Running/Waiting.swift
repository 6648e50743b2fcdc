internal import Collectives
internal import Files
public import Transport

extension TrainerOptions {
  /// How long ranks wait for one another: ``ExchangeOptions/timeout`` seconds; after
  /// ``ExchangeOptions/patience`` seconds the lowest rank that is not waited for itself says on standard error whom it waits for.
  ///
  /// A silent run says nothing.
  public func waiting(isSilent: Bool = false, program: String = "train") -> Patience {
    // What is not a number of seconds is refused later, in a sentence of its own.
    func seconds(_ value: Double, _ standard: Double) -> Duration {
      .seconds(value > 0 && value <= 1_000_000 ? value : standard)
    }
    let notice = WaitNotice(after: seconds(self.patience, TrainerOptions().patience)) { waiting, witness in
      guard witness.isFirst else { return }
      // A line of progress may be open.
      Terminal.write("\(Terminal.width == nil ? "" : "\n")\(program): warning: \(witness.name) sees \(waiting)\n")
    }
    return Patience(limit: seconds(self.timeout, TrainerOptions().timeout), notice: isSilent ? nil : notice)
  }
}
