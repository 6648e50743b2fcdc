internal import Buffers
public import Checkpoints
internal import Collectives
internal import Files
public import MPI
internal import Transport

/// One option as data: its name, meaning, and how it is read from and written as text.
///
/// Command lines, YAML files, the summary at the start and the comparison with a checkpoint all go through this list, so that
/// they accept the same texts and say the same sentences.
public struct OptionField: Sendable {
  /// As people write it: `learning-rate`.
  public let name: String
  /// One line for help.
  public let meaning: String
  /// Whether a resumed run may say something else than the run it continues.
  public let mayChangeOnResume: Bool
  /// Hidden from help: for tests.
  public let isHidden: Bool
  /// The value as JSON.
  let json: @Sendable (TrainerOptions) -> JSONValue
  /// The value as text, nil where the option has none.
  public let read: @Sendable (TrainerOptions) -> String?
  /// Sets the value from text.
  public let write: @Sendable (inout TrainerOptions, String) throws(OptionError) -> Void

  init<Value: OptionValue>(
    _ name: String, _ path: any WritableKeyPath<TrainerOptions, Value> & Sendable, _ meaning: String,
    mayChangeOnResume: Bool = false, isHidden: Bool = false, mayBeNone: Bool = false
  ) {
    self.name = name
    self.meaning = meaning
    self.mayChangeOnResume = mayChangeOnResume
    self.isHidden = isHidden
    json = { $0[keyPath: path].optionJSON }
    read = { $0[keyPath: path].optionText }
    write = { (options, text) throws(OptionError) in
      // As the summary at the start says it.
      if mayBeNone && ["none", "None"].contains(text) {
        options[keyPath: path] = TrainerOptions()[keyPath: path]
        return
      }
      guard let value = Value(optionText: text) else {
        throw OptionError("--\(name) is \(Value.expectation), not '\(text)'")
      }
      options[keyPath: path] = value
    }
  }
}

/// What is wrong with an option, in one sentence without a full stop.
public struct OptionError: Error, ExitStatusProviding, CustomStringConvertible {
  public let description: String
  /// 64 for a command line, 65 for a configuration file.
  public let exitStatus: Int32

  /// An error that says `description`.
  public init(_ description: String, exitStatus: TrainingError.ExitStatus = .usage) {
    self.description = description
    self.exitStatus = exitStatus.rawValue
  }
}

extension OptionField {
  /// The name as metrics files spell it: `learningRate`.
  var key: String {
    let words = name.split(separator: "-")
    return String(words[0]) + words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
  }
}

extension TrainerOptions {
  /// All options, in the order of help.
  public static let fields: [OptionField] = [
    OptionField("model", \.model, "What to train"),
    OptionField("data", \.data, "What to train it on"),
    OptionField("partition", \.partition, "How training samples are dealt to clients: iid, by-class:N or dirichlet:ALPHA"),
    OptionField("clients", \.clients, "Clients that hold the training samples; one for each rank by default", mayBeNone: true),
    OptionField("sampled", \.sampled, "Clients that share a step; as many as ranks by default", mayBeNone: true),
    OptionField("epochs", \.epochs, "How often every sample is used", mayChangeOnResume: true),
    OptionField("steps", \.steps, "The length in steps; wins over --epochs", mayChangeOnResume: true),
    OptionField("minibatch", \.minibatch, "Samples per step over all ranks, at least one per rank"),
    OptionField("optimizer", \.optimizer, "How a gradient becomes an update"),
    OptionField("learning-rate", \.learningRate, "The rate, for the mean gradient of a minibatch"),
    OptionField("momentum", \.momentum, "The share of the last update's direction that stays, without a time constant"),
    OptionField("weight-decay", \.weightDecay, "Adds this times the parameters to the gradient"),
    OptionField(
      "clip", \.clip, "The largest norm of the aggregated gradient; with fetch-sgd as sketches estimate it", mayBeNone: true),
    OptionField("schedule", \.schedule, "How the rate changes over the run"),
    OptionField("tune-minibatch", \.tuneMinibatch, "How the minibatch is found while training", mayBeNone: true),
    OptionField("tune-rate", \.tuneRate, "How the rate follows how training goes", mayBeNone: true),
    OptionField("codec", \.codec, "How gradients cross the network"),
    OptionField(
      "warm-start", \.warmStart, "The start: steps of floats (a tenth of the run), replicated:N, bits:32xN+8xN… or auto"),
    OptionField("strategy", \.strategy, "How ranks work together"),
    OptionField("model-parallel", \.modelParallel, "Ranks that a model is split over"),
    OptionField(
      "realign", \.realign, "Epochs after which the model aligns the labels anew: 2, or 1,3, or every:2", mayBeNone: true),
    OptionField(
      "overlap", \.overlap, "Who exchanges while the model computes: auto, thread, inline or off", mayChangeOnResume: true),
    OptionField("topology", \.topology, "auto, flat, or hierarchical: a host's ranks add up before they encode"),
    OptionField("seed", \.seed, "What everything random follows from"),
    OptionField("threads", \.threads, "Threads of matrix products, for each rank"),
    OptionField("checkpoint", \.checkpoint, "The directory of checkpoints", mayChangeOnResume: true, mayBeNone: true),
    OptionField("checkpoint-every", \.checkpointEvery, "Steps between checkpoints", mayChangeOnResume: true, mayBeNone: true),
    OptionField("resume", \.resume, "Go on from the newest checkpoint", mayChangeOnResume: true),
    OptionField(
      "metrics", \.metrics, "The file of JSON lines that tells the run's course", mayChangeOnResume: true, mayBeNone: true),
    OptionField("timeline", \.timeline, "The file of trace events of all ranks", mayChangeOnResume: true, mayBeNone: true),
    OptionField("log-every", \.logEvery, "Steps between logged steps", mayChangeOnResume: true),
    OptionField("evaluate-every", \.evaluateEvery, "Steps between evaluations (an epoch)", mayChangeOnResume: true),
    OptionField("verify-every", \.verifyEvery, "Steps between checks of the model's hash; 0: never", mayChangeOnResume: true),
    OptionField("non-finite", \.nonFinite, "A step with a gradient that is not finite: skip, abort or zero"),
    OptionField("timeout", \.timeout, "Seconds without progress after which the run ends", mayChangeOnResume: true),
    OptionField("patience", \.patience, "Seconds without progress after which it says who is awaited", mayChangeOnResume: true),
    OptionField("output", \.output, "The file of the final model", mayChangeOnResume: true, mayBeNone: true),
    OptionField("quiet", \.quiet, "No progress", mayChangeOnResume: true),
    OptionField("transport", \.transport, "auto, or messages: no shared memory", mayChangeOnResume: true),
    OptionField("inject-non-finite", \.injectNonFinite, "STEP:RANK", mayChangeOnResume: true, isHidden: true),
    OptionField("inject-fault", \.injectFault, "KIND:rank=R,phase=P", mayChangeOnResume: true, isHidden: true),
    OptionField("pretend-hosts", \.pretendHosts, "A number of hosts", mayChangeOnResume: true, isHidden: true),
  ]

  /// Sets the option called `name` from text; throws with the known names and the nearest spelling.
  public mutating func set(_ name: String, to text: String) throws(OptionError) {
    try TrainerOptions.field(name).write(&self, text)
  }

  /// The option called `name`; throws with the known names and the nearest spelling.
  static func field(_ name: String) throws(OptionError) -> OptionField {
    guard let field = fields.first(where: { $0.name == name }) else {
      throw OptionError(unknown("unknown option", name, known: fields.filter { !$0.isHidden }.map(\.name)))
    }
    return field
  }

  /// The values by name, as they would be written on the command line; options without a value are not there.
  public var texts: [String: String] {
    Dictionary(uniqueKeysWithValues: TrainerOptions.fields.compactMap { field in field.read(self).map { (field.name, $0) } })
  }

  /// The options, by name, whose values a run that continues `saved` must not change but does, with both values.
  public func differences(from saved: TrainerOptions) -> [(name: String, saved: String, here: String)] {
    TrainerOptions.fields.compactMap { field in
      let (then, now) = (field.read(saved) ?? "none", field.read(self) ?? "none")
      return field.mayChangeOnResume || then == now ? nil : (field.name, then, now)
    }
  }
}

/// A type of option values.
protocol OptionValue: Sendable {
  /// Reads a text; nil where it is not such a value.
  init?(optionText: String)
  /// The value as text, nil for none.
  var optionText: String? { get }
  /// The value as JSON.
  var optionJSON: JSONValue { get }
  /// What is asked for: `a whole number`.
  static var expectation: String { get }
}

extension OptionValue {
  var optionJSON: JSONValue { optionText.map { .string($0) } ?? .null }
}

extension String: OptionValue {
  init?(optionText: String) {
    guard !optionText.isEmpty else { return nil }
    self = optionText
  }
  var optionText: String? { self }
  static var expectation: String { "a text that is not empty" }
}

extension Int: OptionValue {
  init?(optionText: String) { self.init(optionText) }
  var optionText: String? { String(self) }
  var optionJSON: JSONValue { .integer(self) }
  static var expectation: String { "a whole number" }
}

extension UInt64: OptionValue {
  init?(optionText: String) { self.init(optionText) }
  var optionText: String? { String(self) }
  var optionJSON: JSONValue { Int(exactly: self).map { .integer($0) } ?? .string(String(self)) }
  static var expectation: String { "a whole number from 0" }
}

extension Double: OptionValue {
  init?(optionText: String) { self.init(optionText) }
  var optionText: String? { self == rounded() && abs(self) < 1e15 ? String(Int(self)) : String(self) }
  var optionJSON: JSONValue { .number(self) }
  static var expectation: String { "a number" }
}

extension Bool: OptionValue {
  init?(optionText: String) { self.init(optionText) }
  var optionText: String? { String(self) }
  var optionJSON: JSONValue { .bool(self) }
  static var expectation: String { "true or false" }
}

extension OptionValue where Self: RawRepresentable & CaseIterable, RawValue == String {
  init?(optionText: String) { self.init(rawValue: optionText) }
  var optionText: String? { rawValue }
  static var expectation: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

extension NonFinitePolicy: OptionValue {}
extension Transport: OptionValue {}
extension Overlap: OptionValue {}
extension Topology: OptionValue {}

extension Optional: OptionValue where Wrapped: OptionValue {
  init?(optionText: String) {
    guard let value = Wrapped(optionText: optionText) else { return nil }
    self = .some(value)
  }
  var optionText: String? { self?.optionText }
  var optionJSON: JSONValue { self?.optionJSON ?? .null }
  static var expectation: String { Wrapped.expectation }
}
