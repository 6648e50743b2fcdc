import ArgumentParser
import Strategies

/// The options of one group of the table (`OptionSection`), as arguments of a command line.
///
/// The library finds the options of a type by reflection; this type's mirror shows an option or a flag for each row, so that
/// parsing, help, completion scripts and error messages are those of options declared as properties.
struct TableOptions<Section: OptionSection>: ParsableArguments, CustomReflectable {
  /// The options that were given, in the order of help; a flag's text is `true`.
  private(set) var given: [(name: String, text: String)] = []

  init() {}

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    for field in Section.fields {
      let key = Key(stringValue: field.key)
      if field.valueName == nil {
        if try container.decode(Flag<Bool>.self, forKey: key).wrappedValue { given.append((field.name, "true")) }
      } else if let text = try container.decode(Option<String?>.self, forKey: key).wrappedValue {
        given.append((field.name, text))
      }
    }
  }

  var customMirror: Mirror { Mirror(self, children: Section.fields.map { (label: $0.key, value: argument($0)) }) }

  /// The declaration of one option.
  private func argument(_ field: OptionField) -> Any {
    let name = NameSpecification.customLong(field.name)
    let help = ArgumentHelp(
      "\(field.help)", valueName: field.valueName, visibility: field.isHidden ? .private : .default)
    guard field.valueName != nil else { return Flag(wrappedValue: false, name: name, help: help) }
    return Option<String?>(name: name, parsing: field.mayBeginWithDash ? .unconditional : .next, help: help)
  }

  /// The key of an option: its name as metrics files spell it.
  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
