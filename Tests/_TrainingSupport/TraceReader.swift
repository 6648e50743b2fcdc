import Foundation
import Testing

/// The events of a timeline, read by somebody who knows only the format.
struct TraceReader {
  /// A span of one thread.
  struct Span {
    let name: String
    let category: String
    /// In nanoseconds.
    let start: Int
    let end: Int
    let arguments: [String: Any]
    /// Whether its end was written.
    let hasEnded: Bool
  }

  /// A thread of a process.
  struct Thread: Hashable {
    let process: Int
    let thread: Int
  }

  /// Whether the closing bracket was missing.
  let isCutShort: Bool
  let events: [[String: Any]]
  /// By thread, in the order of the file.
  private(set) var spans: [Thread: [Span]] = [:]

  /// Reads a file whose closing bracket may be missing.
  init(_ path: String) throws {
    var text = try String(contentsOfFile: path, encoding: .utf8)
    isCutShort = text.hasSuffix(",\n")
    if isCutShort { text = text.dropLast(2) + "]" }
    events = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
    var open: [Thread: [(name: String, category: String, start: Int)]] = [:]
    for event in events {
      let phase = try #require(event["ph"] as? String)
      guard phase != "M" else { continue }
      let time = try Self.nanoseconds(event["ts"])
      let thread = Thread(process: try #require(event["pid"] as? Int), thread: try #require(event["tid"] as? Int))
      switch phase {
      case "B":
        let (name, category) = (try #require(event["name"] as? String), try #require(event["cat"] as? String))
        open[thread, default: []].append((name, category, time))
      case "E":
        let last = open[thread]?.popLast()
        let begin = try #require(last, "an end without a beginning in \(thread)")
        add(
          Span(name: begin.name, category: begin.category, start: begin.start, end: time, arguments: [:], hasEnded: true),
          thread)
      case "X":
        let length = try Self.nanoseconds(event["dur"])
        try #require(length >= 0)
        add(
          Span(
            name: try #require(event["name"] as? String), category: try #require(event["cat"] as? String), start: time,
            end: time + length, arguments: event["args"] as? [String: Any] ?? [:], hasEnded: true), thread)
      default: try #require(phase == "i", "\(event)")
      }
    }
    for (thread, begun) in open {
      for begin in begun {
        add(
          Span(name: begin.name, category: begin.category, start: begin.start, end: .max, arguments: [:], hasEnded: false),
          thread)
      }
    }
  }

  /// All spans of a process whose category is `category`.
  func spans(_ category: String, of process: Int) -> [Span] {
    spans.filter { $0.key.process == process }.flatMap(\.value).filter { $0.category == category }
  }

  /// The first two spans of a thread of which neither lies in the other nor beside it; nil where all nest.
  func overlap(in thread: Thread) -> (Span, Span)? {
    var around: [Span] = []
    let spans = spans[thread] ?? []
    for span in spans.sorted(by: { ($0.start, $1.end) < ($1.start, $0.end) }) {
      while let last = around.last, last.end <= span.start { around.removeLast() }
      if let last = around.last, span.end > last.end { return (last, span) }
      around.append(span)
    }
    return nil
  }

  /// How often each value of a flat buffer lies in the elements of these spans.
  static func coverage(of spans: [Span], count: Int) throws -> [Int] {
    var coverage = Array(repeating: 0, count: count)
    for span in spans {
      let range = try #require(span.arguments["elements"] as? [Int])
      for index in range[0]..<range[1] { coverage[index] += 1 }
    }
    return coverage
  }

  private mutating func add(_ span: Span, _ thread: Thread) { spans[thread, default: []].append(span) }

  private static func nanoseconds(_ microseconds: Any?) throws -> Int {
    Int((try #require(microseconds as? Double) * 1000).rounded())
  }
}
