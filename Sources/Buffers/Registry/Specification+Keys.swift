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

  /// The same with another value of a key; keys are by name.
  package func replacing(_ key: String, by text: String) throws(SpecificationError) -> Specification {
    let pairs = options.merging([key: text]) { $1 }.sorted { $0.key < $1.key }
    return try Specification("\(name):" + (values + pairs.map { "\($0.key)=\($0.value)" }).joined(separator: ","))
  }

  /// The same with keys that are not given filled in: those of `defaults` in their order, then others by name.
  package func filled(_ defaults: [(key: String, text: String)]) throws(SpecificationError) -> Specification {
    let others = options.filter { key, _ in !defaults.contains { $0.key == key } }.sorted { $0.key < $1.key }
    let pairs = defaults.map { ($0.key, options[$0.key] ?? $0.text) } + others.map { ($0.key, $0.value) }
    return try Specification("\(name):" + (values + pairs.map { "\($0)=\($1)" }).joined(separator: ","))
  }
}
