package import Buffers
internal import Collectives
internal import PointToPoint
package import Strategies
package import Transport

/// How fast ranks are, and what share of the samples each takes for it: `--shares measured`.
///
/// Each rank keeps the samples that it computes in a second, 90 % of the mean so far and 10 % of the last step. Every few
/// steps all learn the speeds of all, and shares follow them if a step becomes more than 5 % shorter by that.
/// Source: algorithms §11.2.
/// - Communication: a record of a word to each other rank, every few steps (`ShareRule.measured`).
package final class MeasuredShares {
  /// The gain for which shares change.
  private static let least = 1.05

  private let period: Int
  /// How long a step counts as: what was measured, or what is emulated.
  private let clock: (_ step: Int, _ samples: Int, _ seconds: Double) -> Double
  /// Samples a second; 0 before the first step.
  private let speed = FloatBuffer(count: 1)
  /// The step of the last look.
  private var lastStep = 0

  /// Shares that are looked at every `period` steps.
  package init(every period: Int, clock: @escaping (_ step: Int, _ samples: Int, _ seconds: Double) -> Double = { $2 }) {
    (self.period, self.clock) = (period, clock)
  }

  /// The shares of a run with these options; nil if they are not measured.
  package convenience init?(_ options: TrainerOptions, rank: Int, of rankCount: Int) {
    guard case .measured(let period) = options.shares, rankCount > 1 else { return nil }
    let (emulated, seed) = (options.emulateSpeed, options.seed)
    self.init(every: period) { step, samples, seconds in
      guard let emulated else { return seconds }
      return Double(samples) * emulated.duration(of: rank, among: rankCount, minibatch: step, seed: seed)
    }
  }

  /// Takes note of a gradient of `samples` samples that took `seconds` to compute.
  package func note(_ step: Int, samples: Int, seconds: Double) {
    let seconds = clock(step, samples, seconds)
    guard samples > 0, seconds > 0 else { return }
    let new = Float(Double(samples) / seconds)
    speed[0] = speed[0] > 0 ? 0.9 * speed[0] + 0.1 * new : new
  }

  /// The shares of a minibatch from now on, after `step` steps; nil if they stay as `current` has them, or it is not time to
  /// look.
  ///
  /// Collective.
  package func decide(
    after step: Int, minibatch: Int, current: [Int]?, over records: RecordExchange
  ) throws -> [Int]? {
    guard step / period > lastStep / period else { return nil }
    lastStep = step
    let speeds = try records.gather([UInt64(speed[0].bitPattern)], activity: "the speeds of the ranks")
      .map { Double(Float(bitPattern: UInt32($0[0]))) }
    guard speeds.allSatisfy({ $0 > 0 && $0.isFinite }) else { return nil }
    let equal = Array(repeating: 1, count: speeds.count)
    let now = ShareRule.counts(minibatch, by: (current ?? equal).map(Double.init))
    let new = ShareRule.countsOfAll(minibatch, by: speeds)
    func seconds(_ counts: [Int]) -> Double { zip(counts, speeds).map { Double($0) / $1 }.max() ?? 0 }
    return seconds(now) > MeasuredShares.least * seconds(new) ? new : nil
  }

  /// Adds the speed of this rank; another number of ranks measures anew.
  package func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("measuredSpeed", .local, of: speed))
  }

  /// Goes on after `step` steps.
  package func restore(step: Int) { lastStep = step }
}
