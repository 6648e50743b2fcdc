import Foundation
import Testing
import _TestSupport

/// The files that `bench` reads and writes, and its standard output.
@Suite(.serialized, .outsideMPI) struct BenchFileTests {
  private let shell: Shell

  init() throws {
    shell = try Shell()
    // Four values as NumPy saves them: 1, -2, 3 and 0.5.
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
    header += String(repeating: " ", count: 117 - header.count) + "\n"
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8)
    for value: Float in [1, -2, 3, 0.5] { withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 } }
    try Data(bytes).write(to: URL(fileURLWithPath: shell.path + "/g.npy"))
  }

  private let codec = "codecs --codec one-bit --input"

  @Test func whatIsNoFileIsNeverReplaced() throws {
    try shell.output("mknod null c 1 3 2> /dev/null || ln -s /dev/null null; mkfifo pipe; echo old > shared; ln -s shared link")
    let kinds = try shell.output("stat -c '%F %n' null pipe link")
    try shell.output("$bench \(codec) g.npy --decoded d.npy --remainder e.npy")
    try shell.output("$bench \(codec) g.npy --decoded null --remainder link && cmp e.npy shared")
    try shell.output("cat pipe > copy & $bench \(codec) g.npy --decoded pipe && wait && cmp d.npy copy")
    #expect(try shell.output("stat -c '%F %n' null pipe link") == kinds)
    // Inputs and outputs are pipes and descriptors as well; the table leaves standard output to the array.
    let words = try shell.run("$bench \(codec) - < g.npy --decoded - > copy")
    #expect(words.status == 0 && words.standardError.contains("one-bit"), "\(words)")
    try shell.output("cmp copy d.npy; $bench \(codec) <(cat g.npy) --remainder /dev/fd/5 5> copy && cmp copy e.npy")
    for (names, sentence) in [
      ("g.npy --decoded .", "cannot write .: Is a directory"),
      ("g.npy --decoded no/d", "cannot write no/d: No such file or directory"),
      ("g.npy --decoded pipe", "cannot write pipe: it is a pipe that no process reads from"),
      ("g.npy --decoded /dev/full", "cannot write /dev/full: No space left on device"),
    ] {
      let result = try shell.run("$bench \(codec) \(names)")
      #expect(result.status == 74 && result.standardError == "bench: \(sentence)\n", "\(names): \(result)")
    }
    let missing = try shell.run("$bench \(codec) missing.npy")
    #expect(missing.status == 65 && missing.standardError == "bench: cannot read missing.npy: No such file or directory\n")
  }

  @Test func oneFileForTwoOptionsIsRefused() throws {
    let before = try shell.data("g.npy")
    try shell.output("ln -s g.npy link; cp g.npy g-0.npy")
    for names in [
      "\(codec) g.npy --decoded new --remainder ./new", "\(codec) g.npy --decoded g.npy", "\(codec) g.npy --remainder link",
      "\(codec) g.npy --residual link --remainder g.npy", "\(codec) g.npy --decoded - --remainder /dev/stdout",
      "all-reduce --input g-%d.npy --output ./g-%d.npy",
    ] {
      let result = try shell.run("$bench \(names)")
      #expect(result.status == 64 && result.standardOutput == "", "\(names): \(result)")
    }
    #expect(try shell.data("g.npy") == before && shell.data("g-0.npy") == before)
    #expect(try shell.names() == ["g-0.npy", "g.npy", "link"])
    // One name for all ranks.
    var job = Job("bench", ["all-reduce", "--input", "g.npy", "--output", "sum.npy"])
    job.directory = shell.path
    let result = try job.run(ranks: 2, options: ["-q", "--wdir", shell.path])
    #expect(result.status == 64 && result.standardError.contains("write %d for the rank"), "\(result)")
    #expect(result.standardError.split(separator: "\n").count == 1)
    job.arguments[4] = "sum-%d.npy"
    #expect(try job.run(ranks: 2, options: ["--wdir", shell.path]).status == 0)
    #expect(try shell.data("sum-0.npy") == shell.data("sum-1.npy"))
  }

  @Test func aResultThatIsLostIsAnError() throws {
    for command in ["\(codec) g.npy", "\(codec) g.npy --json", "memory --count 1000 --iterations 1", "--help", "codecs --help"]
    {
      for (place, reason) in [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor")] {
        let result = try shell.run("$bench \(command) \(place)")
        #expect(
          result.status == 74 && result.standardError == "bench: cannot write standard output: \(reason)\n",
          "\(command) \(place): \(result)")
      }
      let cut = try shell.run("$bench \(command) | true; exit ${PIPESTATUS[0]}")
      #expect([0, 128 + SIGPIPE].contains(cut.status) && cut.standardError == "", "\(command): \(cut)")
    }
    // No file gets the number of a closed descriptor.
    let lost = try shell.run("$bench \(codec) g.npy --decoded lost.npy <&- >&- 2>&-")
    try shell.output("$bench \(codec) g.npy --decoded d.npy; cmp d.npy lost.npy")
    #expect(lost.status == 74)
  }

  @Test func namesThatAreNotUTF8AreRefused() throws {
    let result = try shell.run("$bench \(codec) g.npy --decoded $'d\\xe9.npy'")
    #expect(result.status == 64 && result.standardError.contains("is not UTF-8"), "\(result)")
    #expect(try shell.names() == ["g.npy"])
  }
}
