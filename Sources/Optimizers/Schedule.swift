public import Buffers
internal import Foundation

/// How the learning rate changes over the planned steps.
public struct Schedule: Sendable {
  /// Steps over which the rate rises linearly to its full value; the schedule proper covers the rest.
  public let warmup: Int
  /// The factor at `position` of `horizon` steps, for 0 ≤ position < horizon.
  private let shape: @Sendable (_ position: Double, _ horizon: Double) -> Double

  init(warmup: Int, _ shape: @escaping @Sendable (_ position: Double, _ horizon: Double) -> Double) {
    self.warmup = warmup
    self.shape = shape
  }

  /// The factor of the learning rate at `position`, counted in steps from 0, of a run of `horizon` steps.
  ///
  /// Positions lie between whole steps if the minibatch has changed during the run. In the warm-up, step t has (t + 1)/warmup.
  /// Cosines and powers may differ between machines, so one rank computes the rate and sends its bits.
  public func factor(at position: Double, of horizon: Int) -> Double {
    position < Double(warmup)
      ? min(1, (position + 1) / Double(warmup)) : shape(position - Double(warmup), Double(max(1, horizon - warmup)))
  }
}

/// The schedules of `--schedule`.
public let schedules = Registry<Schedule>(
  "schedule",
  [
    schedule("constant", "The same rate at every step.") { _ in { _, _ in 1 } },
    schedule("cosine", "Half a cosine, from the full rate to zero or a floor: (1 + cos πt/T)/2.", keys: [floorKey]) {
      try descent($0) { position, horizon in (1 + cos(Double.pi * position / horizon)) / 2 }
    },
    schedule("linear", "A straight line, from the full rate to zero or a floor: 1 − t/T.", keys: [floorKey]) {
      try descent($0) { position, horizon in 1 - position / horizon }
    },
    schedule(
      "step", "Multiplied by a factor every N steps.",
      keys: [("every", "steps between changes (required)"), ("by", "the factor (0.1)")]
    ) { specification in
      guard specification.options["every"] != nil else {
        throw SpecificationError("'\(specification)' needs every=STEPS")
      }
      let every = try specification.integer("every", default: 1, in: 1...Int(Int32.max))
      let factor = try specification.number("by", default: 0.1, in: 0...1)
      return { position, _ in pow(factor, (position / Double(every)).rounded(.down)) }
    },
  ])

private let floorKey = (name: "floor", meaning: "the factor at the end: 0.1 is a tenth of the full rate (0)")

/// A shape that falls from 1 to the floor of a specification in the way that `shape` falls to 0.
private func descent(
  _ specification: Specification, _ shape: @escaping @Sendable (_ position: Double, _ horizon: Double) -> Double
) throws -> @Sendable (_ position: Double, _ horizon: Double) -> Double {
  let floor = try specification.number(floorKey.name, default: 0, in: 0...1)
  return { position, horizon in position >= horizon ? floor : floor + (1 - floor) * shape(position, horizon) }
}

/// A registry entry, with the key that all schedules have.
private func schedule(
  _ name: String, _ summary: String, keys: [(name: String, meaning: String)] = [],
  make: @escaping @Sendable (Specification) throws -> @Sendable (_ position: Double, _ horizon: Double) -> Double
) -> Registry<Schedule>.Entry {
  .init(name, summary, keys: keys + [("warmup", "steps over which the rate rises to its full value (0)")]) { specification in
    let warmup = try specification.integer("warmup", default: 0, in: 0...Int(Int32.max))
    return Schedule(warmup: warmup, try make(specification))
  }
}
