import Files
import Foundation
import Glibc
import MPI
import Reporting
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// What names of outputs stand for, and how they are written.
@Suite(.outsideMPI) struct FileDestinationTests {
  private let directory: TemporaryDirectory
  private var path: String { directory.path }

  init() throws { directory = try TemporaryDirectory(on: world.alone) }

  private func write(_ text: String, to name: String) throws {
    let destination = try FileDestination(name)
    try destination.open()
    try destination.write(Array(text.utf8))
  }

  private func text(_ name: String) throws -> String { try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8) }

  private func link(_ name: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(atPath: "\(path)/\(name)", withDestinationPath: target)
  }

  private func isLink(_ name: String) -> Bool {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(path)/\(name)")) != nil
  }

  private func mode(_ name: String) -> mode_t {
    var information = stat()
    return lstat("\(path)/\(name)", &information) == 0 ? information.st_mode : 0
  }

  @Test func linksStayAndWhatTheyPointToIsReplaced() throws {
    try FileManager.default.createDirectory(atPath: path + "/elsewhere", withIntermediateDirectories: false)
    try "old".write(toFile: path + "/elsewhere/file", atomically: false, encoding: .utf8)
    try link("elsewhere/second", to: "file")
    try link("first", to: "elsewhere/second")
    try link("absolute", to: path + "/elsewhere/file")
    try link("dangling", to: "elsewhere/new")
    try write("new", to: path + "/first")
    #expect(try text("elsewhere/file") == "new")
    try write("newer", to: path + "/absolute")
    #expect(try text("elsewhere/file") == "newer")
    try write("there", to: path + "/dangling")
    #expect(try text("elsewhere/new") == "there")
    for name in ["first", "absolute", "dangling", "elsewhere/second"] { #expect(isLink(name), "\(name)") }
    let left = try FileManager.default.contentsOfDirectory(atPath: path + "/elsewhere").sorted()
    #expect(left == ["file", "new", "second"])
  }

  /// What a link points to may have a name that is not UTF-8.
  @Test func aLinkMayPointToANameInAnyEncoding() throws {
    let name: [CChar] = Array((path + "/m").utf8CString.dropLast()) + [CChar(bitPattern: 0xE9), 0]
    try #require(symlink(name, path + "/link") == 0)
    try write("new", to: path + "/link")
    var information = stat()
    #expect(lstat(name, &information) == 0 && information.st_size == 3)
    unlink(name)
  }

  @Test func permissionsStay() throws {
    for permissions: mode_t in [0o600, 0o640, 0o755] {
      try write("old", to: path + "/file")
      chmod(path + "/file", permissions)
      try write("new", to: path + "/file")
      #expect(mode("file") & 0o7777 == permissions)
    }
    let mask = umask(0o027)
    try write("new", to: path + "/another")
    umask(mask)
    #expect(mode("another") & 0o7777 == 0o640)
  }

  /// Whoever has the old file open, or another name of it, keeps it whole.
  @Test func theOldFileIsNotWrittenOver() throws {
    try write("old", to: path + "/file")
    try #require(Glibc.link(path + "/file", path + "/copy") == 0)
    try write("new", to: path + "/file")
    #expect(try text("copy") == "old" && text("file") == "new")
  }

  @Test func aPipeIsWrittenAsAPipe() throws {
    try #require(mkfifo(path + "/pipe", 0o600) == 0)
    let reader = open(path + "/pipe", O_RDONLY | O_NONBLOCK)
    defer { close(reader) }
    try write("through", to: path + "/pipe")
    var bytes = [UInt8](repeating: 0, count: 100)
    #expect(read(reader, &bytes, bytes.count) == 7)
    #expect(String(decoding: bytes.prefix(7), as: UTF8.self) == "through")
    #expect(mode("pipe") & S_IFMT == S_IFIFO)
    // Two lines of metrics, and nothing of the end of a file.
    let metrics = try MetricsWriter(path + "/pipe", appending: true) { Issue.record("\($0)") }
    metrics.write(["a": 1])
    metrics.write(["a": 2])
    #expect(read(reader, &bytes, bytes.count) == 16)
  }

  @Test func whatTakesNoFileIsRefused() throws {
    func refusal(_ name: String) -> String? {
      let error = #expect(throws: FileError.self, "\(name)") { try write("x", to: name) }
      #expect(error?.exitStatus == 74)
      return error?.description
    }
    #expect(refusal(path) == "cannot write \(path): Is a directory")
    #expect(refusal(path + "/missing/") == "cannot write \(path)/missing/: Is a directory")
    #expect(refusal(path + "/missing/x") == "cannot write \(path)/missing/x: No such file or directory")
    try write("a file", to: path + "/file")
    #expect(refusal(path + "/file/x") == "cannot write \(path)/file/x: Not a directory")
    #expect(refusal(path + "/file/") == "cannot write \(path)/file/: Not a directory")
    let long = path + "/" + String(repeating: "x", count: 256)
    #expect(refusal(long) == "cannot write \(long): File name too long")
    try link("round", to: "round")
    #expect(refusal(path + "/round") == "cannot write \(path)/round: Too many levels of symbolic links")
    #expect(refusal("/dev/full") == "cannot write /dev/full: No space left on device")
    #expect(refusal("/dev/fd/973")?.hasPrefix("cannot write /dev/fd/973: descriptor 973 is not open") ?? false)

    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: (path + "/socket").utf8) }
    let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
    try #require(bound == 0)
    #expect(refusal(path + "/socket") == "cannot write \(path)/socket: it is a socket, not a file")
    #expect(mode("socket") & S_IFMT == S_IFSOCK)
    #expect(try FileManager.default.contentsOfDirectory(atPath: path).sorted() == ["file", "round", "socket"])
  }

  /// The longest name that there is leaves no room for an ending.
  @Test func namesMayBeLongAndStrange() throws {
    for name in [String(repeating: "x", count: 255), "two\nlines", " ", "-x", "é", "ends in.partial"] {
      try write("old", to: "\(path)/\(name)")
      try write("new", to: "\(path)/\(name)")
      #expect(try text(name) == "new")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: path).count == 6)
  }

  @Test func aDescriptorIsWrittenWhereItIs() throws {
    try "before ".write(toFile: path + "/log", atomically: false, encoding: .utf8)
    let descriptor = open(path + "/log", O_WRONLY)
    defer { close(descriptor) }
    lseek(descriptor, 7, SEEK_SET)
    try link("link", to: "/dev/fd/\(descriptor)")
    for name in ["/dev/fd/\(descriptor)", "/proc/self/fd/\(descriptor)", "/dev/../dev/fd/\(descriptor)", path + "/link"] {
      try write("x", to: name)
    }
    let metrics = try MetricsWriter("/dev/fd/\(descriptor)", appending: false) { Issue.record("\($0)") }
    metrics.write(["a": 1])
    #expect(try text("log") == "before xxxx{\"a\":1}\n")
    #expect(isLink("link"))
    let reading = open(path + "/log", O_RDONLY)
    defer { close(reading) }
    #expect(throws: FileError.self) { try write("x", to: "/dev/fd/\(reading)") }
  }

  @Test func inputsMayBePipes() throws {
    try write("a file", to: path + "/file")
    #expect(try InputFile.bytes(of: path + "/file") == Array("a file".utf8))
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    #expect(Glibc.write(ends[1], "through", 7) == 7)
    close(ends[1])
    #expect(try InputFile.bytes(of: "/dev/fd/\(ends[0])") == Array("through".utf8))
    close(ends[0])
    #expect(try InputFile.bytes(of: "/dev/null").isEmpty)
    for (name, words) in [
      (path, "Is a directory"), (path + "/missing", "No such file or directory"), ("/dev/zero", "File too large"),
      ("/dev/fd/973", "descriptor 973 is not open"),
    ] {
      let error = #expect(throws: FileError.self) { try InputFile.bytes(of: name, limit: 1 << 20) }
      #expect(error?.description.hasPrefix("cannot read \(name): \(words)") ?? false, "\(error?.description ?? "")")
    }
    #expect(InputFile.isFile(path + "/file") && InputFile.isFile(path + "/missing"))
    for name in ["-", "/dev/stdin", "/dev/fd/3", "/dev/null"] { #expect(!InputFile.isFile(name)) }
  }

  @Test func oneFileIsKnownByEverySpelling() throws {
    try write("a file", to: path + "/file")
    try link("link", to: "file")
    try #require(Glibc.link(path + "/file", path + "/hard") == 0)
    try link("folder", to: ".")
    try link("dangling", to: "missing")
    let descriptor = open(path + "/file", O_WRONLY | O_APPEND)
    defer { close(descriptor) }
    func areOne(_ name: String, _ other: String) -> Bool {
      let faults = FileConflicts.faults(outputs: [("metrics", name), ("output", other)])
      #expect(faults.isEmpty || faults.count == 1 && faults[0].contains("--metrics") && faults[0].contains("--output"))
      let input = FileConflicts.faults(outputs: [("metrics", name)], inputs: [("config", other)])
      #expect(input.isEmpty == faults.isEmpty || name == "-", "\(name) and \(other)")
      return !faults.isEmpty
    }
    for other in [
      "/file", "/./file", "//file", "/../\(path.split(separator: "/").last!)/file", "/link", "/hard", "/folder/link",
    ] {
      #expect(areOne(path + "/file", path + other), "\(other)")
    }
    #expect(areOne(path + "/file", "/dev/fd/\(descriptor)"))
    for other in ["/missing", "/folder/./missing", "/dangling"] { #expect(areOne(path + "/missing", path + other), "\(other)") }
    #expect(areOne(path + "/no/folder/x", path + "//no/./folder/x"))
    #expect(areOne("-", "/dev/stdout") && areOne("/dev/stdout", "/proc/self/fd/1"))
    for (name, other) in [
      ("/file", "/missing"), ("/missing", "/missing2"), ("/no/a", "/no/b"), ("/no/a", "/na/a"), ("/file", "/folder/x"),
    ] { #expect(!areOne(path + name, path + other), "\(name) and \(other)") }
    // Everything may be thrown away together.
    #expect(!areOne("/dev/null", "/dev/null") && !areOne("/dev/stderr", path + "/file"))
    #expect(FileConflicts.faults(outputs: [("metrics", nil), ("output", path + "/file")]).isEmpty)
  }
}
