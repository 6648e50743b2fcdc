import Files
import Foundation
import Reporting
import Strategies
import Testing
import Trainer
import _TestSupport

/// The parts of a timeline, on one rank.
@Suite struct TraceTests {
  @Test func timesAreWrittenAsMicroseconds() {
    for (nanoseconds, text) in [
      (0, "0.000"), (1, "0.001"), (999, "0.999"), (1_000, "1.000"), (-1_234_567, "-1234.567"), (10_010, "10.010"),
      (1_795_256_446_229_916_123, "1795256446229916.123"),
    ] {
      var bytes: [UInt8] = []
      bytes.append(microseconds: nanoseconds)
      #expect(String(decoding: bytes, as: UTF8.self) == text)
    }
  }

  /// The fastest answer counts; the way there and back are taken to be as long.
  @Test func theFastestAnswerTellsTheClock() {
    let offset = TraceClock.Offset([(1_000, 91_000, 9_000), (20_000, 102_600, 24_000), (30_000, 150_000, 70_000)])
    #expect(offset.roundTrip == 4_000 && offset.nanoseconds == 102_600 - 22_000)
    #expect(TraceClock.Offset([]) == TraceClock.Offset([(0, 0, 0)]))
  }

  @Test func halfALineIsRemovedByTheNextWriter() throws {
    let path = NSTemporaryDirectory() + "morse-trace-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    func text() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
    func append(_ text: String) throws { try TraceFile(path).append(Array(text.utf8)) }
    let first = try TraceFile(path)
    try first.append(Array("[{},\n".utf8))
    // Two writers, of which one is killed in the middle of a line.
    try append("{\"a\":1},\n")
    let file = try FileHandle(forUpdating: URL(filePath: path))
    try file.seekToEnd()
    try file.write(contentsOf: Data("{\"b\":".utf8))
    try first.append(Array("{\"c\":3},\n".utf8))
    #expect(try text() == "[{},\n{\"a\":1},\n{\"c\":3},\n")
    // An array that was ended goes on.
    try append("{\"d\":4}]\n")
    try first.reopen()
    try append("{\"e\":5},\n")
    #expect(try text() == "[{},\n{\"a\":1},\n{\"c\":3},\n{\"e\":5},\n")
    // Half a line alone, longer than a block, and nothing at all.
    try file.truncate(atOffset: 0)
    try file.write(contentsOf: Data(repeating: 120, count: 10_000))
    try first.reopen()
    #expect(try text() == "")
    try first.reopen()
    try first.append([])
    #expect(try text() == "")
  }

  @Test func aFullDiskIsToldAndNothingIsHalfWritten() throws {
    let full = try TraceFile("/dev/full")
    #expect(throws: FileError.self) { try full.append(Array("{},\n".utf8)) }
    #expect(throws: FileError.self) { try TraceFile("/nowhere/t.json") }
  }
}
