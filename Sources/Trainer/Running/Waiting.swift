internal import Collectives
internal import Files
public import Strategies
public import Transport

extension TrainerOptions {
  /// How long ranks wait for one another: ``ExchangeOptions/timeout`` seconds; after ``ExchangeOptions/patience`` seconds the
  /// lowest rank that is not itself awaited reports on standard error which ranks are awaited.
  ///
  /// A silent run reports nothing.
  public func waiting(isSilent: Bool = false, program: String = "train") -> Patience {
    // An invalid number of seconds is rejected later, with its own message.
    func seconds(_ value: Double, _ standard: Double) -> Duration {
      .seconds(value > 0 && value <= 1_000_000 ? value : standard)
    }
    let notice = WaitNotice(after: seconds(self.patience, TrainerOptions().patience)) { waiting, witness in
      guard witness.isFirst else { return }
      // A progress line may be unfinished.
      Terminal.write("\(Terminal.width == nil ? "" : "\n")\(program): warning: \(witness.name) sees \(waiting)\n")
    }
    return Patience(limit: seconds(self.timeout, TrainerOptions().timeout), notice: isSilent ? nil : notice)
  }
}
