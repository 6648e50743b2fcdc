extension Specification {
  /// The value of key `key` as a number or share.
  package func amount(_ key: String, default standard: String) throws(SpecificationError) -> Amount {
    let text = options[key] ?? standard
    guard let amount = Amount(text) else {
      throw SpecificationError("'\(description)': \(key) is a number from 1 or a share such as 0.05 or 1/20, not '\(text)'")
    }
    return amount
  }

  /// The value of key `key` as a choice.
  package func choice<Choice: RawRepresentable<String> & CaseIterable>(
    _ key: String, default standard: Choice
  ) throws(SpecificationError) -> Choice {
    guard let text = options[key] else { return standard }
    guard let choice = Choice(rawValue: text) else {
      throw SpecificationError(unknown("'\(description)': unknown \(key)", text, known: Choice.allCases.map(\.rawValue)))
    }
    return choice
  }

  /// The Boolean value of key `key`, or `standard` if the key is absent.
  package func flag(_ key: String, default standard: Bool) throws(SpecificationError) -> Bool {
    guard let text = options[key] else { return standard }
    guard let value = Bool(text) else { throw SpecificationError("'\(description)': \(key) is true or false, not '\(text)'") }
    return value
  }
}
