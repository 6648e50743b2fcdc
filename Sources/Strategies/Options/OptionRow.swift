package import Files

/// A row of the table of options (``OptionSection``): everything about one option except its use.
public struct OptionRow<Value: Hashable & Sendable>: Sendable {
  /// The value of a run without the option, which may follow from its other options.
  let standard: @Sendable (TrainerOptions) -> Value
  /// The row, independent of the type of its value.
  let field: OptionField

  /// Creates a row.
  ///
  /// - Parameters:
  ///   - name: The name on command lines, in YAML files and in checkpoints: `learning-rate`. Metrics files use `learningRate`.
  ///   - standard: The default.
  ///   - meaning: A sentence for help, which appends the default.
  ///   - value: The name of the value in help: `n`. A flag has none.
  ///   - otherwise: The text in help for an option that is not given, if the default is no value.
  ///   - following: The default of a run with these options; nil for `standard`.
  ///   - mayChangeOnResume: Whether a resumed run may have another value than the run it continues.
  ///   - mayBeNone: Whether `none`, as printed by the summary at the start, stands for the default.
  ///   - isHidden: Whether help, lists and summaries omit it: for tests.
  ///   - check: The fault of a value, as the end of a sentence that begins with the option's name, or nil. Faults of several
  ///     options together are checked in ``TrainerOptions/faults(ranks:config:)``.
  init(
    _ name: String, _ standard: Value, _ meaning: String, value: String = "", otherwise: String? = nil,
    following: (@Sendable (TrainerOptions) -> Value?)? = nil, mayChangeOnResume: Bool = false, mayBeNone: Bool = false,
    isHidden: Bool = false, check: @escaping @Sendable (Value) -> String? = { _ in nil }
  ) where Value: OptionValue {
    let usualValue: @Sendable (TrainerOptions) -> Value = { following?($0) ?? standard }
    self.standard = usualValue
    let isFlag = Value.self == Bool.self
    let usual = isFlag ? nil : otherwise ?? standard.optionText
    field = OptionField(
      name: name, help: meaning + (usual.map { " (default: \($0))" } ?? ""), valueName: isFlag ? nil : value,
      mayBeginWithDash: Value.mayBeginWithDash, mayChangeOnResume: mayChangeOnResume, isHidden: isHidden,
      json: { $0.value(name, usualValue).optionJSON }, read: { $0.value(name, usualValue).optionText },
      write: { (options, text) throws(OptionError) in
        if mayBeNone && ["none", "None"].contains(text) { return options.setValue(name, standard) }
        guard let value = Value(optionText: text) else {
          throw OptionError("--\(name) is \(Value.expectation), not '\(text)'")
        }
        options.setValue(name, value)
      },
      isUsual: { $0.value(name, usualValue) == usualValue($0) },
      fault: { check($0.value(name, usualValue)).map { "--\(name) \($0)" } })
  }

  /// Creates a row of an option that has no value by default, with a check of the values it may be given.
  init<Given: OptionValue>(
    _ name: String, _ standard: Given?, _ meaning: String, value: String = "", otherwise: String? = nil,
    mayChangeOnResume: Bool = false, mayBeNone: Bool = false, isHidden: Bool = false,
    checkGiven: @escaping @Sendable (Given) -> String?
  ) where Value == Given? {
    self.init(
      name, standard, meaning, value: value, otherwise: otherwise, mayChangeOnResume: mayChangeOnResume, mayBeNone: mayBeNone,
      isHidden: isHidden, check: { $0.flatMap(checkGiven) })
  }
}

/// One option as data, independent of the type of its value.
///
/// Command lines, YAML files, help, the summary at the start, the start event of metrics files and the comparison with a
/// checkpoint are all made from these, so that they accept the same texts and use the same sentences.
public struct OptionField: Sendable {
  /// The name on command lines: `learning-rate`.
  public let name: String
  /// The meaning with the default, for help.
  public let help: String
  /// The name of the value in help; nil for a flag.
  public let valueName: String?
  /// Whether a value may begin with a dash, as a negative number does.
  public let mayBeginWithDash: Bool
  /// Whether a resumed run may have another value than the run it continues.
  public let mayChangeOnResume: Bool
  /// Whether help omits it: for tests.
  public let isHidden: Bool
  /// The value as JSON.
  package let json: @Sendable (TrainerOptions) -> JSONValue
  /// The value as text; nil if the option has none.
  public let read: @Sendable (TrainerOptions) -> String?
  /// Sets the value from text.
  public let write: @Sendable (inout TrainerOptions, String) throws(OptionError) -> Void
  /// Whether the value is that of a run without the option.
  package let isUsual: @Sendable (TrainerOptions) -> Bool
  /// The fault of the value by itself, a sentence without a full stop, or nil.
  package let fault: @Sendable (TrainerOptions) -> String?

  /// The name in metrics files: `learningRate`.
  public var key: String {
    let words = name.split(separator: "-")
    return String(words[0]) + words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
  }
}

/// A group of options: its title, and a row for each option.
public protocol OptionSection {
  /// The title of the group in help.
  static var title: String { get }
  /// The options, in the order of help.
  static var fields: [OptionField] { get }
}

/// A part of the table of options: a type whose stored properties are its rows.
protocol OptionTable: OptionSection, Sendable {
  /// All rows of the table.
  static var rows: Self { get }
}

extension OptionTable {
  /// The rows, in the order of their declaration.
  public static var fields: [OptionField] {
    Mirror(reflecting: rows).children.compactMap { ($0.value as? any FieldProviding)?.field }
  }
}

/// A row with any type of value.
private protocol FieldProviding {
  var field: OptionField { get }
}

extension OptionRow: FieldProviding {}

/// Checks shared by several rows; each gives the end of a sentence that begins with the option's name.
enum OptionCheck {
  /// Checks that a number is at least `least`; `unit` follows the number in the sentence.
  static func atLeast(_ least: Int, _ unit: String = "") -> @Sendable (Int) -> String? {
    { $0 >= least ? nil : "is at least \(least)\(unit), not \($0)" }
  }

  /// Checks that a number is from `least` to `most`.
  static func from(_ least: Int, atMost most: Int) -> @Sendable (Int) -> String? {
    { $0 < least ? "is at least \(least), not \($0)" : $0 > most ? "is at most \(most), not \($0)" : nil }
  }

  /// Checks that a time limit is above zero and short enough to be counted in nanoseconds.
  @Sendable static func seconds(_ value: Double) -> String? {
    value > 0 && value <= 1_000_000 ? nil : "is a number of seconds above 0, up to 1000000, not \(value)"
  }
}
