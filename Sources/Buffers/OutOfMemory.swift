#if canImport(Glibc)
  import Glibc
#endif

internal import Synchronization

/// Memory that cannot be allocated, in one sentence without a full stop; a program that ends because of it has ``exitStatus``.
public struct OutOfMemory: Error, CustomStringConvertible, Sendable {
  public let description: String

  /// An error with this description.
  public init(_ description: String) { self.description = description }

  /// The error if `owner` needs `byteCount` bytes that are not available, with the limit that prevents it.
  ///
  /// - Parameters:
  ///   - owner: What the memory is for, as in "the momentum".
  ///   - byteCount: The number of bytes it needs; nil for more than there are addresses.
  public init(_ owner: String, byteCount: Int?) {
    let need = byteCount.map(MemoryLimit.text) ?? "more bytes than there are addresses"
    let limit = MemoryLimit.tightest.map { ", and \($0.sentence)" } ?? ""
    description = "not enough memory: \(owner) needs \(need)\(limit)"
  }

  /// The status for errors of input, output and resources, as in `sysexits.h`.
  public var exitStatus: Int32 { 74 }

  private static let end = Mutex<@Sendable (OutOfMemory) -> Never>({ error in
    let line = Array("\(error)\n".utf8)
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    _exit(error.exitStatus)
  })

  /// Sets what ends the process if a buffer cannot be allocated and its creator cannot throw.
  ///
  /// By default, one sentence is written to standard error and the process ends with ``exitStatus``. A program with several
  /// ranks sets it to end them all.
  public static func whenUnhandled(_ end: @escaping @Sendable (OutOfMemory) -> Never) { self.end.withLock { $0 = end } }

  /// Ends the process.
  func endProcess() -> Never {
    let end = OutOfMemory.end.withLock { $0 }
    end(self)
  }
}

/// A limit that the system sets on the memory of this process (`ulimit -v` or `ulimit -d`).
public struct MemoryLimit: Sendable {
  /// What is limited.
  public enum Kind: String, Sendable {
    /// Everything that is mapped: memory, shared memory, programs, files.
    case addressSpace = "the limit of address space (ulimit -v"
    /// Memory of this process alone.
    case data = "the limit of data (ulimit -d"
  }

  /// What is limited.
  public let kind: Kind
  /// The number of bytes that may be in use.
  public let byteCount: Int
  /// The number of bytes still available.
  public let left: Int

  /// A limit of `byteCount` bytes that leaves `left` of them.
  package init(kind: Kind, byteCount: Int, left: Int) { (self.kind, self.byteCount, self.left) = (kind, byteCount, left) }

  /// The limit and what it leaves, in readable form.
  public var sentence: String {
    "\(kind.rawValue), \(MemoryLimit.text(byteCount))) leaves \(MemoryLimit.text(max(0, left)))"
  }

  /// The limits that are set, in no order.
  public static var all: [MemoryLimit] {
    let pages = usedPages
    let kinds = [(RLIMIT_AS, Kind.addressSpace, pages.address), (RLIMIT_DATA, .data, pages.data)]
    return kinds.compactMap { resource, kind, pageCount in
      var limit = rlimit()
      guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0, limit.rlim_cur <= rlim_t(Int.max) else {
        return nil
      }
      let byteCount = Int(limit.rlim_cur)
      return MemoryLimit(kind: kind, byteCount: byteCount, left: byteCount - pageCount * Int(getpagesize()))
    }
  }

  /// The limit that leaves least; nil if there is none.
  public static var tightest: MemoryLimit? { all.min { $0.left < $1.left } }

  /// Whether `byteCount` bytes could be allocated now, within all limits and in one piece; they are not kept.
  public static func allows(byteCount: Int) -> Bool {
    guard byteCount > 0 else { return true }
    let place = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let place = place, place != MAP_FAILED else { return false }
    munmap(place, byteCount)
    return true
  }

  /// Throws if `owner` needs `byteCount` bytes and they could not be allocated now.
  public static func require(_ byteCount: Int, for owner: String) throws(OutOfMemory) {
    guard allows(byteCount: byteCount) else { throw OutOfMemory(owner, byteCount: byteCount) }
  }

  /// A number of bytes in readable form: `272 MB`.
  public static func text(_ byteCount: Int) -> String {
    var (value, unit) = (Double(byteCount), 0)
    while value >= 999.5 && unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
    let digits = unit > 0 && value < 9.95 ? 1 : 0
    let scaled = Int((value * (digits == 1 ? 10 : 1)).rounded())
    return digits == 1 ? "\(scaled / 10).\(scaled % 10) \(units[unit])" : "\(scaled) \(units[unit])"
  }

  private static let units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"]

  /// The pages in use: of the address space, and of data and stack.
  private static var usedPages: (address: Int, data: Int) {
    var text = [UInt8](repeating: 0, count: 256)
    let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return (0, 0) }
    defer { close(file) }
    let count = text.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
    let fields = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: " ").map { Int($0) ?? 0 }
    return fields.count > 5 ? (fields[0], fields[5]) : (0, 0)
  }
}
