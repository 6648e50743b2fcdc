/// The choices of one kind (codecs, models, data sets, …), as data that can be printed, searched and tested.
public struct Registry<Product>: Sendable {
  /// One choice.
  public struct Entry: Sendable {
    /// The name used in a specification.
    public let name: String
    /// One line for `train list`.
    public let summary: String
    /// What values without a key mean; nil if none are taken.
    public let values: String?
    /// The keys it takes, each with its meaning and default.
    public let keys: [(name: String, meaning: String)]
    /// Whether it is among those that are compared if none is named.
    public private(set) var isCompared = false
    /// Makes the product from a specification whose name and keys are known to be valid.
    public let make: @Sendable (Specification) throws -> Product

    /// A choice.
    public init(
      _ name: String, _ summary: String, values: String? = nil, keys: [(name: String, meaning: String)] = [],
      make: @escaping @Sendable (Specification) throws -> Product
    ) {
      self.name = name
      self.summary = summary
      self.values = values
      self.keys = keys
      self.make = make
    }

    /// The same choice, among those that are compared if none is named.
    public var compared: Entry {
      var entry = self
      entry.isCompared = true
      return entry
    }
  }

  /// The kind of the choices, for example `codec`.
  public let kind: String
  /// In the order in which they are listed.
  public let entries: [Entry]

  /// A list of choices.
  public init(_ kind: String, _ entries: [Entry]) {
    self.kind = kind
    self.entries = entries
  }

  /// Makes what `text` specifies; throws `SpecificationError` with the known names and the nearest spelling.
  ///
  /// - Parameters:
  ///   - text: A specification.
  ///   - words: Words that the caller takes in the place of a specification; they are among the known names.
  public func make(_ text: String, besides words: [String] = []) throws -> Product {
    let specification = try Specification(text)
    guard let entry = entries.first(where: { $0.name == specification.name }) else {
      if words.contains(specification.name) {
        throw SpecificationError("\(kind) '\(specification.name)' takes neither values nor keys")
      }
      throw SpecificationError(unknown("unknown \(kind)", specification.name, known: entries.map(\.name) + words))
    }
    if entry.values == nil, let value = specification.values.first {
      throw SpecificationError(
        "\(kind) '\(entry.name)' takes no value '\(value)'"
          + (entry.keys.isEmpty ? "" : "; its keys are " + entry.keys.map(\.name).joined(separator: ", ")))
    }
    for key in specification.options.keys.sorted() where !entry.keys.contains(where: { $0.name == key }) {
      throw SpecificationError(unknown("\(kind) '\(entry.name)' has no key", key, known: entry.keys.map(\.name)))
    }
    return try entry.make(specification)
  }
}

/// One sentence that names what is unknown, what is known, and the nearest spelling.
public func unknown(_ what: String, _ name: String, known: [String]) -> String {
  let list = known.isEmpty ? "it takes none" : "known: \(known.joined(separator: ", "))"
  guard let nearest = known.min(by: { editDistance(name, $0) < editDistance(name, $1) }),
    editDistance(name, nearest) <= max(2, nearest.count / 3)
  else { return "\(what) '\(name)'; \(list)" }
  return "\(what) '\(name)'; did you mean '\(nearest)'? \(list)"
}

/// The number of insertions, deletions and replacements that turn one text into the other.
func editDistance(_ a: String, _ b: String) -> Int {
  let (a, b) = (Array(a), Array(b))
  var row = Array(0...b.count)
  for i in a.indices {
    var diagonal = row[0]
    row[0] = i + 1
    for j in b.indices {
      let substitution = diagonal + (a[i] == b[j] ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(substitution, row[j] + 1, diagonal + 1)
    }
  }
  return row[b.count]
}
