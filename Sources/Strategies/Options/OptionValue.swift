internal import Collectives
internal import Files
internal import PointToPoint
internal import Transport

/// A type of option values.
protocol OptionValue: Hashable, Sendable {
  /// Reads a text; nil if it is not such a value.
  init?(optionText: String)
  /// The value as text; nil for none.
  var optionText: String? { get }
  /// The value as JSON.
  var optionJSON: JSONValue { get }
  /// The accepted values, in words: `a whole number`.
  static var expectation: String { get }
  /// Whether a text may begin with a dash, as a negative number does; otherwise it is taken as the next option of a command
  /// line.
  static var mayBeginWithDash: Bool { get }
}

extension OptionValue {
  var optionJSON: JSONValue { optionText.map { .string($0) } ?? .null }
  static var mayBeginWithDash: Bool { false }
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
  static var mayBeginWithDash: Bool { true }
}

extension UInt64: OptionValue {
  init?(optionText: String) { self.init(optionText) }
  var optionText: String? { String(self) }
  var optionJSON: JSONValue { Int(exactly: self).map { .integer($0) } ?? .string(String(self)) }
  static var expectation: String { "a whole number from 0" }
  static var mayBeginWithDash: Bool { true }
}

extension Double: OptionValue {
  init?(optionText: String) { self.init(optionText) }
  var optionText: String? { self == rounded() && abs(self) < 1e15 ? String(Int(self)) : String(self) }
  var optionJSON: JSONValue { .number(self) }
  static var expectation: String { "a number" }
  static var mayBeginWithDash: Bool { true }
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

extension EmulatedSpeed: OptionValue {
  init?(optionText: String) { self.init(optionText) }
  var optionText: String? {
    switch self {
    case .roundRobin: "rr"
    case .exponential: "exp"
    case .slow(let factor): factor.optionText.map { "slow:\($0)" }
    case .jitter(let extra): extra.optionText.map { "jitter:\($0)" }
    case .measured: nil
    }
  }
  static var expectation: String { "rr, exp, slow:F with F from 1, or jitter:F" }
}

extension Optional: OptionValue where Wrapped: OptionValue {
  init?(optionText: String) {
    guard let value = Wrapped(optionText: optionText) else { return nil }
    self = .some(value)
  }
  var optionText: String? { self?.optionText }
  var optionJSON: JSONValue { self?.optionJSON ?? .null }
  static var expectation: String { Wrapped.expectation }
  static var mayBeginWithDash: Bool { Wrapped.mayBeginWithDash }
}
