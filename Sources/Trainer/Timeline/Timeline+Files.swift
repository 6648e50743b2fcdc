package import Buffers
package import Collectives
internal import Glibc
internal import MPI

// The files of a timeline: that of rank 0's host is the one that was asked for; the ranks of another host write beside it, with
// the host's name behind, because appending to one file from two hosts is not safe, and are joined at the end.
extension Timeline {
  /// Begins a timeline in `path`; collective.
  ///
  /// - Parameters:
  ///   - path: The file, in a directory that every host has.
  ///   - hosts: All ranks.
  ///   - layout: The tensors whose names are shown.
  ///   - isAppending: Whether a run goes on whose timeline is there: events follow, by the clock of the first job.
  ///   - skew: Added to the clock of this rank, in nanoseconds, for tests.
  /// - Throws: `TrainingError` on all ranks where a file cannot be opened.
  /// - Communication: a few small collectives, and 100 small messages each way between rank 0 and each other host.
  package convenience init(
    _ path: String, of hosts: HostMap, layout: TensorLayout, isAppending: Bool = false, skew: Int = 0
  ) throws {
    let (world, first) = (hosts.world, hosts.firstRanks[hosts.world.rank])
    let name = first == 0 ? path : Timeline.part(of: path, host: hosts.hostNames[first])
    let agreement = try Agreement(world: world, activity: "opening the timeline")
    var age = 0
    // One rank of each host prepares the file before the others open it.
    let prepared = try together(agreement, otherwise: .inputOutput) { () throws(FileError) -> TraceFile? in
      guard first == world.rank else { return nil }
      let file = try TraceFile(name)
      if isAppending { try file.reopen() } else { try file.clear() }
      if first == 0 { age = try Timeline.begin(file) }
      return file
    }
    let file = try together(agreement, otherwise: .inputOutput) { try prepared ?? TraceFile(name) }
    try self.init(path, file, of: hosts, layout: layout, age: age, skew: skew)
  }

  /// Where another host than rank 0's writes until the end of the run.
  package static func part(of path: String, host: String) -> String { "\(path).\(host)" }

  /// What people should know of the files before the run, nil where there is one file only.
  var advice: String? {
    guard hosts.hostCount > 1 else { return nil }
    return
      "until the end of the run each other host writes its timeline beside \(path), with its name behind; if the run is cut "
      + "short, `cat \(path) \(path).* > all.json` joins them"
  }

  /// Writes what is left, where a run ends by an error; nothing is joined.
  func close() { writer.end() }

  /// Writes what is left, and makes one file of those of all hosts; collective, nothing is noted after it.
  ///
  /// - Returns: what to say on rank 0, and whether it is a warning.
  /// - Communication: all that other hosts have written.
  package func finish() throws -> (text: String, isWarning: Bool) {
    writer.end()
    let world = hosts.world
    // A host's first rank sends what all its ranks have written.
    try world.barrier()
    var (failure, _) = writer.state
    for sender in Set(hosts.firstRanks).sorted() where sender != 0 {
      do {
        if world.rank == sender { try send() }
        if world.rank == 0 { try receive(from: sender) }
      } catch let error as FileError { failure = failure ?? "\(error)" }
    }
    // All events are written before the last.
    var failures = try world.allGather(varying: Array((failure ?? "").utf8)).map { String(decoding: $0, as: UTF8.self) }
    if world.rank == 0 {
      let last: JSONValue = [
        "name": "end", "ph": "i", "s": "g", "ts": .number(Double(clock.nanoseconds(.now)) / 1000), "pid": 0, "tid": 0,
      ]
      do { try file.append(Array("\(last)]\n".utf8)) } catch { failures.append("\(error)") }
    }
    if let failure = failures.first(where: { !$0.isEmpty }) {
      return ("some of the timeline is missing in \(path): \(failure)", true)
    }
    let size = withPrefix(Double(file.byteCount)) + "B"
    return ("the timeline is in \(path) (\(size)); ui.perfetto.dev and chrome://tracing show it", false)
  }

  /// Writes the beginning of the file where there is none; returns how long ago the timeline began, in nanoseconds.
  private static func begin(_ file: TraceFile) throws(FileError) -> Int {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
    let now = time.tv_sec * 1_000_000 + time.tv_nsec / 1000
    let key = "\"unixMicroseconds\":"
    let head = try file.read(0..<min(file.byteCount, 512))
    let text = String(decoding: head, as: UTF8.self)
    let digits = text.firstRange(of: key).map { text[$0.upperBound...].prefix { $0.isNumber } }
    let began = digits.flatMap { Int($0) }
    if began == nil { try file.clear() }
    let event: JSONValue = [
      "name": began == nil ? "start" : "resumed", "ph": "i", "s": "g",
      "ts": .number(Double(now - (began ?? now))), "pid": 0, "tid": 0,
      "args": ["unixMicroseconds": .integer(began ?? now)],
    ]
    try file.append(Array("\(began == nil ? "[" : "")\(event),\n".utf8))
    return (now - (began ?? now)) * 1000
  }

  // MARK: Joining

  private static let tag = 8
  private static let blockByteCount = 1 << 20

  /// Sends the file of this host to rank 0, and removes it once it is joined.
  private func send() throws {
    let world = hosts.world
    var (offset, failure) = (0, FileError?.none)
    let end = file.byteCount
    while offset < end && failure == nil {
      var block: [UInt8] = []
      do throws(FileError) { block = try file.read(offset..<min(offset + Timeline.blockByteCount, end)) } catch {
        failure = error
        break
      }
      // Whole lines; no line is as long as a block.
      let lines = block.lastIndex(of: UInt8(ascii: "\n")).map { Array(block[...$0]) } ?? block
      offset += lines.count
      try world.send(lines, to: 0, tag: Timeline.tag)
    }
    try world.send([UInt8](), to: 0, tag: Timeline.tag)
    let isJoined = try world.receiveValue(Int32.self, from: 0, tag: Timeline.tag) == 1
    if let failure { throw failure }
    if isJoined { _ = unlink(file.path) }
  }

  /// Appends what another host sends.
  private func receive(from sender: Int) throws {
    var failure: FileError?
    while true {
      let lines = try hosts.world.receive(UInt8.self, from: sender, tag: Timeline.tag).values
      if lines.isEmpty { break }
      guard failure == nil else { continue }
      do throws(FileError) { try file.append(lines) } catch { failure = error }
    }
    try hosts.world.send(Int32(failure == nil ? 1 : 0), to: sender, tag: Timeline.tag)
    if let failure { throw failure }
  }
}
