internal import Buffers

/// The options of a run, each with its default.
///
/// Their meaning and everything else about them is in the table, whose parts are ``SubjectOptions``, ``DescentOptions``,
/// ``ExchangeOptions``, ``FileOptions`` and ``ReportOptions``. Each row of the table is a property here, read and set by the
/// row's name: `options.learningRate = 0.2`.
@dynamicMemberLookup
public struct TrainerOptions: Sendable {
  /// The values that were set, by the option's name.
  private var values: [String: AnyValue] = [:]
  /// The names of the options given by a command line or a configuration file, even if only as their defaults.
  public private(set) var given: Set<String> = []

  /// Creates the defaults.
  public init() {}

  /// The option of a row of ``SubjectOptions``.
  public subscript<Value>(dynamicMember path: KeyPath<SubjectOptions, OptionRow<Value>>) -> Value {
    get { self[SubjectOptions.rows[keyPath: path]] }
    set { self[SubjectOptions.rows[keyPath: path]] = newValue }
  }

  /// The option of a row of ``DescentOptions``.
  public subscript<Value>(dynamicMember path: KeyPath<DescentOptions, OptionRow<Value>>) -> Value {
    get { self[DescentOptions.rows[keyPath: path]] }
    set { self[DescentOptions.rows[keyPath: path]] = newValue }
  }

  /// The option of a row of ``ExchangeOptions``.
  public subscript<Value>(dynamicMember path: KeyPath<ExchangeOptions, OptionRow<Value>>) -> Value {
    get { self[ExchangeOptions.rows[keyPath: path]] }
    set { self[ExchangeOptions.rows[keyPath: path]] = newValue }
  }

  /// The option of a row of ``FileOptions``.
  public subscript<Value>(dynamicMember path: KeyPath<FileOptions, OptionRow<Value>>) -> Value {
    get { self[FileOptions.rows[keyPath: path]] }
    set { self[FileOptions.rows[keyPath: path]] = newValue }
  }

  /// The option of a row of ``ReportOptions``.
  public subscript<Value>(dynamicMember path: KeyPath<ReportOptions, OptionRow<Value>>) -> Value {
    get { self[ReportOptions.rows[keyPath: path]] }
    set { self[ReportOptions.rows[keyPath: path]] = newValue }
  }

  private subscript<Value>(row: OptionRow<Value>) -> Value {
    get { value(row.field.name, row.standard) }
    set { setValue(row.field.name, newValue) }
  }

  /// The value of the option called `name`, whose default is `standard` of all options.
  func value<Value: Hashable & Sendable>(_ name: String, _ standard: (TrainerOptions) -> Value) -> Value {
    guard let value = values[name]?.value else { return standard(self) }
    guard let value = value as? Value else { fatalError("the option '\(name)' has a value of another type than its row") }
    return value
  }

  /// Sets the option called `name`.
  mutating func setValue<Value: Hashable & Sendable>(_ name: String, _ value: Value) { values[name] = AnyValue(value: value) }

  /// The values that differ from the default, by the option's name.
  private var unusualValues: [String: AnyValue] {
    let usual = Set(TrainerOptions.fields.filter { values[$0.name] != nil && $0.isUsual(self) }.map(\.name))
    return values.filter { !usual.contains($0.key) }
  }
}

/// A value of an option of any type.
private struct AnyValue: Hashable, Sendable {
  let value: any Hashable & Sendable

  static func == (left: AnyValue, right: AnyValue) -> Bool {
    func isEqual<Value: Equatable>(_ value: Value, to other: any Hashable) -> Bool { value == other as? Value }
    return isEqual(left.value, to: right.value)
  }

  func hash(into hasher: inout Hasher) { value.hash(into: &hasher) }
}

extension TrainerOptions: Hashable {
  /// Whether all values are equal, given or not.
  public static func == (left: TrainerOptions, right: TrainerOptions) -> Bool { left.unusualValues == right.unusualValues }

  public func hash(into hasher: inout Hasher) { hasher.combine(unusualValues) }
}

extension TrainerOptions: Codable {
  public init(from decoder: any Decoder) throws {
    self.init()
    for (name, text) in try decoder.singleValueContainer().decode([String: String].self) { try set(name, to: text) }
  }

  /// Encodes the values by name, as texts.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(texts)
  }
}

extension TrainerOptions {
  /// The groups of the table, in the order of help.
  private static var sections: [any OptionSection.Type] {
    [SubjectOptions.self, DescentOptions.self, ExchangeOptions.self, FileOptions.self, ReportOptions.self]
  }

  /// All options, in the order of help.
  public static let fields: [OptionField] = sections.flatMap { $0.fields }

  /// Sets the option called `name` from text; the error has the known names and the nearest spelling.
  public mutating func set(_ name: String, to text: String) throws(OptionError) {
    try TrainerOptions.field(name).write(&self, text)
  }

  /// Sets the option called `name` from a text given by a command line or a configuration file.
  package mutating func give(_ name: String, _ text: String) throws(OptionError) {
    try set(name, to: text)
    given.insert(name)
  }

  /// Whether no codec was named, so that a strategy or an optimizer may bring its own.
  package var takesUsualCodec: Bool { self.codec == TrainerOptions().codec && !given.contains("codec") }

  /// The option called `name`; the error has the known names and the nearest spelling.
  public static func field(_ name: String) throws(OptionError) -> OptionField {
    guard let field = fields.first(where: { $0.name == name }) else {
      throw OptionError(unknown("unknown option", name, known: fields.filter { !$0.isHidden }.map(\.name)))
    }
    return field
  }

  /// The values by name, as written on the command line, without options that have no value.
  public var texts: [String: String] {
    Dictionary(uniqueKeysWithValues: TrainerOptions.fields.compactMap { field in field.read(self).map { (field.name, $0) } })
  }

  /// The options, by name, that a run continuing `saved` must not change but does, with both values.
  public func differences(from saved: TrainerOptions) -> [(name: String, saved: String, here: String)] {
    TrainerOptions.fields.compactMap { field in
      let (then, now) = (field.read(saved) ?? "none", field.read(self) ?? "none")
      return field.mayChangeOnResume || then == now ? nil : (field.name, then, now)
    }
  }
}
