package import Files
import Foundation

/// A table for people (aligned Markdown) and for programs (CSV and JSON).
package struct TextTable {
  /// The title above the table.
  package let title: String
  package let columns: [String]
  package private(set) var rows: [[String]] = []
  /// The notes below the table, one paragraph each.
  package var notes: [String] = []

  package init(_ title: String, columns: [String]) {
    self.title = title
    self.columns = columns
  }

  package mutating func add(_ row: [String]) {
    precondition(row.count == columns.count, "a row of \(row.count) cells under \(columns.count) columns")
    rows.append(row)
  }

  /// The table with its title and notes, the notes broken into lines of 100 columns.
  package var text: String {
    let widths = columns.indices.map { column in ([columns] + rows).map { $0[column].count }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      "| " + zip(cells, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: " | ") + " |"
    }
    let rule = "|" + widths.map { String(repeating: "-", count: $0 + 2) }.joined(separator: "|") + "|"
    let table = [line(columns), rule] + rows.map(line)
    return ([title, "", table.joined(separator: "\n")] + notes.flatMap { ["", wrapped($0, at: 100)] }).joined(separator: "\n")
  }

  /// Comma-separated values with a header line, following RFC 4180.
  package var csv: String {
    ([columns] + rows).map { cells in
      cells.map { $0.contains { ",\"\n".contains($0) } ? "\"\($0.replacing("\"", with: "\"\""))\"" : $0 }.joined(separator: ",")
    }.joined(separator: "\r\n") + "\r\n"
  }

  /// One object: the title, the rows as objects, the notes.
  package var json: JSONValue {
    [
      "title": .string(title),
      "rows": .array(rows.map { row in .object(zip(columns, row).map { .init($0, .string($1)) }) }),
      "notes": .array(notes.map { .string($0) }),
    ]
  }
}

/// Text broken into lines of at most `width` columns, if its words allow it.
private func wrapped(_ text: String, at width: Int) -> String {
  var lines = [""]
  for word in text.split(separator: " ") {
    let last = lines[lines.count - 1]
    if last.isEmpty {
      lines[lines.count - 1] = String(word)
    } else if last.count + 1 + word.count <= width {
      lines[lines.count - 1] += " \(word)"
    } else {
      lines.append(String(word))
    }
  }
  return lines.joined(separator: "\n")
}

/// A quantity measured with several seeds.
package struct Sample {
  package let values: [Double]

  /// These measurements.
  package init(values: [Double]) { self.values = values }

  package var mean: Double { values.reduce(0, +) / Double(values.count) }

  /// The mean and, for several values, the smallest and the largest: `71.6 (71.4–71.9)`.
  package func text(digits: Int) -> String {
    let mean = decimal(mean, digits: digits)
    guard values.count > 1, let low = values.min(), let high = values.max() else { return mean }
    return "\(mean) (\(decimal(low, digits: digits))–\(decimal(high, digits: digits)))"
  }
}

extension Sample? {
  /// The text, or a dash if nothing was measured.
  package func text(digits: Int) -> String { self?.text(digits: digits) ?? "–" }
}

/// A difference with its sign: `+0.3`, `−0.1`.
package func signed(_ value: Double, digits: Int) -> String {
  let text = decimal(abs(value), digits: digits)
  return value < 0 && text.contains { "123456789".contains($0) } ? "−\(text)" : "+\(text)"
}
