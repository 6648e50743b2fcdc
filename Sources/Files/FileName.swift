internal import Glibc

/// What the name of a file stands for.
///
/// Names are kept as bytes: the target of a link may be in any encoding.
enum FileName {
  /// What a name stands for, with all links followed.
  enum Target {
    /// A descriptor of this process: `-`, `/dev/stdout`, `/dev/fd/3`, or a link to such a name.
    case descriptor(Int32)
    /// A path that is not a link, and what kind of file is there (`S_IFREG` …); nil if there is none.
    case path([CChar], kind: mode_t?)
  }

  /// Follows `name`; `standard` is the descriptor that `-` stands for.
  static func target(of name: String, standard: Int32, to operation: String) throws(FileError) -> Target {
    if name == "-" { return .descriptor(standard) }
    var path = Array(name.utf8CString)
    // As many links as the system follows.
    for _ in 0..<40 {
      if let number = descriptor(path) { return .descriptor(number) }
      var information = stat()
      guard lstat(path, &information) == 0 else {
        guard errno == ENOENT else { throw .last(operation, name) }
        // Only a directory can be there.
        let isDirectory = path.dropLast().last == slash || path.count == 1
        if isDirectory { throw FileError(operation: operation, path: name, code: EISDIR) }
        return .path(path, kind: nil)
      }
      let kind = information.st_mode & S_IFMT
      guard kind == S_IFLNK else { return .path(path, kind: kind) }
      guard let link = link(path) else { throw .last(operation, name) }
      path = link.first == slash ? link : parent(of: path).dropLast() + [slash] + link
    }
    throw FileError(operation: operation, path: name, code: ELOOP)
  }

  private static let slash = CChar(bitPattern: UInt8(ascii: "/"))

  /// The path of the directory that holds the last part of a path.
  static func parent(of path: [CChar]) -> [CChar] {
    guard let last = path.lastIndex(of: slash) else { return [CChar(bitPattern: UInt8(ascii: ".")), 0] }
    return last == 0 ? [slash, 0] : Array(path[..<last]) + [0]
  }

  /// The last part of a path, without the terminating zero.
  static func last(of path: [CChar]) -> [CChar] {
    Array(path[(path.lastIndex(of: slash).map { $0 + 1 } ?? 0)...].dropLast())
  }

  /// The target of a link; nil if it cannot be read.
  private static func link(_ path: [CChar]) -> [CChar]? {
    var target = Array(repeating: CChar(0), count: Int(PATH_MAX))
    let count = readlink(path, &target, target.count)
    return count >= 0 && count < target.count ? Array(target[..<count]) + [0] : nil
  }

  /// The number of the descriptor that a path names; nil if it names something else.
  private static func descriptor(_ path: [CChar]) -> Int32? {
    let name = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    if let number = ["/dev/stdin", "/dev/stdout", "/dev/stderr"].firstIndex(of: name) { return Int32(number) }
    let digits = last(of: path).map { UInt8(bitPattern: $0) }
    guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      let number = Int32(String(decoding: digits, as: UTF8.self))
    else { return nil }
    // The directory may have any spelling, too.
    var real = Array(repeating: CChar(0), count: Int(PATH_MAX))
    guard realpath(parent(of: path), &real) != nil else { return nil }
    let directory = String(decoding: real.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let own = "/proc/\(getpid())/"
    let isOwn = directory == "/dev/fd" || directory.hasPrefix(own) && directory.hasSuffix("/fd")
    return isOwn ? number : nil
  }
}
