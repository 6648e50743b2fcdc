package import Buffers
package import Checkpoints
internal import Collectives
internal import Files
internal import Glibc
internal import MPI
package import Transport

// The files of a timeline. The ranks on rank 0's host write the requested file; the ranks of each other host write beside it,
// to a file with the host's name appended, because appending to one file from two hosts is not safe. The files are joined at
// the end.
extension Timeline {
  /// Begins a timeline in `path`.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - path: The file, in a directory that exists on every host.
  ///   - hosts: All ranks.
  ///   - layout: The tensors whose names are shown.
  ///   - isAppending: Whether the run resumes one whose timeline may be there: events follow it, on the clock of the first job.
  ///   - agreement: How ranks agree on files; if nil, the timeline makes its own.
  ///   - patience: Seconds to wait for another run to release the file.
  ///   - skew: Added to the clock of this rank, in nanoseconds, for tests.
  /// - Throws: `TrainingError` on all ranks if a file cannot be opened or another run writes to it.
  /// - Communication: a few small collectives, and 100 small messages each way between rank 0 and each other host.
  package convenience init(
    _ path: String, of hosts: HostMap, layout: TensorLayout, isAppending: Bool = false, agreement: Agreement? = nil,
    patience: Double = 10, skew: Int = 0
  ) throws {
    let (world, first) = (hosts.world, hosts.firstRanks[hosts.world.rank])
    let name = first == 0 ? path : Timeline.part(of: path, host: hosts.hostNames[first])
    let agreement = try (agreement ?? Agreement(world: world)).about("opening the timeline")
    var age = 0
    // One rank of each host prepares the file before the others open it.
    let prepared = try agreement.together(otherwise: .inputOutput) { () -> TraceFile? in
      guard first == world.rank else { return nil }
      let file = try TraceFile(name)
      try file.claim(patience: patience)
      if isAppending { try file.reopen() } else { try file.clear() }
      if first == 0 { age = try Timeline.begin(file) }
      return file
    }
    let file = try agreement.together(otherwise: .inputOutput) { try prepared ?? TraceFile(name) }
    try self.init(path, file, of: hosts, over: agreement, layout: layout, age: age, skew: skew)
  }

  /// The file that a host other than rank 0's writes until the end of the run.
  package static func part(of path: String, host: String) -> String { "\(path).\(host)" }

  /// What the user should know about the files before the run; nil if there is only one file.
  package var advice: String? {
    guard hosts.hostCount > 1 else { return nil }
    return
      "until the end of the run each other host writes its timeline beside \(path), with its name behind; if the run is cut "
      + "short, `cat \(path) \(path).* > all.json` joins them"
  }

  /// Writes what is left when a run ends with an error; joins nothing.
  package func close() { writer.end() }

  /// Writes what is left and joins the files of all hosts.
  ///
  /// Collective; nothing is recorded after it.
  ///
  /// - Returns: The message for rank 0, and whether it is a warning.
  /// - Communication: everything that other hosts have written.
  package func finish() throws -> (text: String, isWarning: Bool) {
    writer.end()
    let world = hosts.world
    // A host's first rank sends what all of its ranks have written.
    let agreement = agreement.about("the joining of the timeline")
    _ = try agreement.gather([])
    var (failure, _) = writer.state
    let senders = Set(hosts.firstRanks).sorted().filter { $0 != 0 }
    if !senders.isEmpty {
      let joining = Joining(letters: try Letters(hosts, capacity: Joining.blockByteCount), world: world, file: file)
      for sender in senders {
        do { try joining.pass(from: sender) } catch let error as FileError { failure = failure ?? "\(error)" }
      }
    }
    // All other events are written before the last one.
    var failures: [String] = []
    if let text = try agreement.firstText(failure) { failures.append(text) }
    if world.rank == 0 {
      let last: JSONValue = [
        "name": "end", "ph": "i", "s": "g", "ts": .number(Double(clock.nanoseconds(.now)) / 1000), "pid": 0, "tid": 0,
      ]
      do { try file.append(Array("\(last)]\n".utf8)) } catch { failures.append("\(error)") }
    }
    if let failure = failures.first {
      return ("some of the timeline is missing in \(path): \(failure)", true)
    }
    let size = file.byteCount > 0 ? " (\(withPrefix(Double(file.byteCount)))B)" : ""
    return ("the timeline is in \(path)\(size); ui.perfetto.dev and chrome://tracing show it", false)
  }

  /// Writes the beginning of the file if there is none; returns how long ago the timeline began, in nanoseconds.
  private static func begin(_ file: TraceFile) throws(FileError) -> Int {
    var time = timespec()
    _ = clock_gettime(CLOCK_REALTIME, &time)
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
}

/// Transfers the files of other hosts to rank 0.
private struct Joining {
  static let blockByteCount = 1 << 20
  private static let activity = "the joining of the timeline"

  let letters: Letters
  let world: Communicator
  let file: TraceFile

  /// Appends the file of `sender` to that of rank 0 and removes it once it has arrived.
  ///
  /// Collective.
  func pass(from sender: Int) throws {
    switch world.rank {
    case 0: try receive(from: sender)
    case sender: try send()
    // Is notified of every block, so that a long file does not look like a silent peer.
    default: while try letters.receiveWords(from: 0, activity: Joining.activity, pause: { usleep(1000) }) == [1] {}
    }
  }

  private func send() throws {
    var (offset, failure) = (0, FileError?.none)
    let end = file.byteCount
    while offset < end && failure == nil {
      var block: [UInt8] = []
      do throws(FileError) { block = try file.read(offset..<min(offset + Joining.blockByteCount, end)) } catch {
        failure = error
        break
      }
      // Whole lines only; every line is shorter than a block.
      let lines = block.lastIndex(of: UInt8(ascii: "\n")).map { Array(block[...$0]) } ?? block
      offset += lines.count
      try lines.withUnsafeBytes { try letters.send($0, to: 0, activity: Joining.activity) }
    }
    try letters.send([], to: 0, activity: Joining.activity)
    let isJoined = try letters.receiveWords(from: 0, activity: Joining.activity) == [1]
    if let failure { throw failure }
    if isJoined { _ = unlink(file.path) }
  }

  private func receive(from sender: Int) throws {
    var failure: FileError?
    func tell(_ word: Int) throws {
      for rank in 1..<world.count where rank != sender { try letters.send([word], to: rank, activity: Joining.activity) }
    }
    while true {
      let lines = Array(try letters.receive(from: sender, activity: Joining.activity))
      if lines.isEmpty { break }
      try tell(1)
      guard failure == nil else { continue }
      do throws(FileError) { try file.append(lines) } catch { failure = error }
    }
    try tell(0)
    try letters.send([failure == nil ? 1 : 0], to: sender, activity: Joining.activity)
    if let failure { throw failure }
  }
}
