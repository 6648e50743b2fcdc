internal import Buffers
internal import CMorse
internal import MPI
internal import Synchronization
internal import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

/// The ranks of a communicator.
final class World: @unchecked Sendable {
  let hosts: HostMap
  /// The speed of the links between hosts, once it was needed.
  private let speed = Mutex<LinkSpeed??>(nil)

  /// Joins the ranks; collective.
  init(fortranHandle: Int32?, timeout: Double, patience: Double) throws {
    OutOfMemory.whenUnhandled { error in
      World.tell("\(error)")
      Runtime.abort(status: error.exitStatus)
    }
    var limits = Patience(limit: .seconds(timeout))
    if patience > 0 {
      limits.notice = WaitNotice(after: .seconds(patience)) { waiting, witness in
        if witness.isFirst { World.tell("\(witness.name): \(waiting)") }
      }
    }
    hosts = try HostMap(try Communicator.joined(fortranHandle: fortranHandle), patience: limits)
  }

  var rank: Int { hosts.world.rank }
  var count: Int { hosts.world.count }

  /// The speed of the links; measured once, which is collective; nil within one host.
  func linkSpeed() throws -> LinkSpeed? {
    if let known = speed.withLock({ $0 }) { return known }
    let measured = try LinkSpeed.measured(between: hosts)
    speed.withLock { $0 = .some(measured) }
    return measured
  }

  /// Throws the mistake of `own`, on all ranks that of the first one which made any; collective.
  ///
  /// - Returns: What `own` does.
  func together<Result>(_ activity: String, _ own: () throws -> Result) throws -> Result {
    var (result, failure): (Result?, Failure?) = (nil, nil)
    do { result = try own() } catch { failure = Failure(error) }
    let line = failure.map { "\($0.status) \($0.sentence)" } ?? ""
    let answers = try hosts.gather(Array(line.utf8), activity: activity)
    guard let first = answers.firstIndex(where: { !$0.isEmpty }) else { return result! }
    let parts = String(decoding: answers[first], as: UTF8.self).split(separator: " ", maxSplits: 1)
    let areAll = answers.allSatisfy { $0 == answers[first] }
    throw Failure(
      status: Int32(parts[0]) ?? Int32(MORSE_ERROR_INTERNAL),
      sentence: (areAll ? "" : "\(hosts.name(of: first)): ") + parts[1])
  }

  /// Throws on all ranks if `bytes` differ between them, with the ranks that are not like most; collective.
  func checkEqual(_ what: String, _ bytes: UnsafeRawBufferPointer) throws {
    let own = [UInt64(bytes.count), XXHash64.hash(bytes)]
    let answers = try hosts.gather(own.withUnsafeBytes(Array.init), activity: "the comparison of \(what)")
    let values = answers.map { $0.withUnsafeBytes { XXHash64.hash($0) } }
    let odd = dissenters(among: values)
    guard !odd.isEmpty else { return }
    let names = odd.map { hosts.name(of: $0) }.joined(separator: ", ")
    throw Failure.usage(
      "\(what) differs between ranks: \(names) is not like the others; all ranks must run the same program and options")
  }

  /// Writes a line to standard error at once.
  static func tell(_ sentence: String) {
    let line = "morse: \(sentence)\n"
    _ = line.utf8CString.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count - 1) }
  }
}
