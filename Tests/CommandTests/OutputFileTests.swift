import Foundation
import Testing
import _TestSupport

/// The files that `train` writes, named as people name them.
@Suite(.serialized, .outsideMPI) struct OutputFileTests {
  private let shell: Shell

  init() throws { shell = try Shell() }

  @Test func whatIsNoFileIsNeverReplaced() throws {
    // As root a device like /dev/null; otherwise a link to it.
    try shell.output("mknod null c 1 3 2> /dev/null || ln -s /dev/null null; mkfifo pipe; echo old > shared; ln -s shared link")
    let kinds = try shell.output("stat -c '%F %n' *")
    try shell.output("for name in null link; do $train $small --output $name --metrics null || exit 1; done")
    try shell.output("$train $small --output model; cmp model shared")
    // A pipe that somebody reads gets the model; one that nobody reads is refused before anything is trained.
    try shell.output("cat pipe > copy & $train $small --output pipe && wait && cmp model copy")
    try shell.output("cat pipe > lines & $train $small --metrics pipe && wait")
    #expect(try shell.events("lines") == Shell.eventsOfSmall)
    try shell.output("cat pipe > trace & $train $small --timeline pipe && wait")
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: shell.data("trace")) }
    let unread = try shell.run("$train $small --output pipe")
    #expect(unread.status == 74 && unread.standardOutput == "", "\(unread.standardError)")
    #expect(unread.standardError == "train: cannot write pipe: it is a pipe that no process reads from\n")
    #expect(
      try shell.output("rm model copy lines trace; stat -c '%F %n' *") == kinds.replacing("regular empty", with: "regular"))
  }

  @Test func whatCannotBeWrittenIsRefusedBeforeTheRun() throws {
    try shell.output("mkdir folder; echo old > earlier")
    let long = String(repeating: "x", count: 256)
    for (name, words) in [
      ("folder", "Is a directory"), ("folder/", "Is a directory"), (".", "Is a directory"), ("new/", "Is a directory"),
      ("missing/file", "No such file or directory"), ("earlier/file", "Not a directory"), (long, "File name too long"),
    ] {
      for option in ["output", "metrics", "timeline"] {
        // What there was of an earlier run stays.
        let other = option == "metrics" ? "output" : "metrics"
        let result = try shell.run("$train $small --\(option) '\(name)' --\(other) earlier")
        #expect(result.status == 74 && result.standardOutput == "", "--\(option) \(name): \(result.status)")
        #expect(result.standardError == "train: cannot write \(name): \(words)\n", "--\(option)")
      }
    }
    #expect(try shell.run("$train $small --output ''").status == 64)
    #expect(try shell.text("earlier") == "old\n" && shell.names() == ["earlier", "folder"])
  }

  @Test func runsWithOneOutputEndWhole() throws {
    let script = """
      for seed in 1 2 3 4; do $train $small --seed $seed --output model-$seed || exit 1; done
      for seed in 1 2 3 4; do $train $small --seed $seed --output shared & jobs+=($!); done
      for job in ${jobs[@]}; do wait $job || exit 1; done
      for seed in 1 2 3 4; do cmp -s model-$seed shared && echo one; done; ls -A
      """
    #expect(try shell.output(script).replacing("\n", with: " ").hasSuffix("one model-1 model-2 model-3 model-4 shared "))
  }

  /// What a run that was killed left behind, under whatever name, is in nobody's way.
  @Test func aFailedOutputLeavesTheOldFile() throws {
    try shell.output("$train $small --output model; mkdir model.partial")
    let old = try shell.data("model")
    // Files may have 8 KiB, and the model has 25.
    let failed = try shell.run("ulimit -f 8; exec $train $small --seed 2 --output model > words")
    #expect(failed.status == 74, "\(failed.standardError)")
    #expect(failed.standardError == "train: cannot write model: File too large\n")
    #expect(try shell.data("model") == old && shell.names() == ["model", "model.partial", "words"])
    try shell.output("$train $small --seed 2 --output model")
    #expect(try shell.data("model") != old)
  }

  /// A directory that takes no new files, or a single file that is mounted into a container.
  @Test func aFileThatCannotBeReplacedIsWrittenOver() throws {
    let script = """
      mkdir folder; echo old > folder/file; $train $small --output model
      if [ $(id -u) != 0 ]; then chmod 555 folder; $train $small --output folder/file; status=$?; chmod 755 folder
      elif unshare -m mount --bind model model 2> /dev/null; then
        unshare -m bash -c 'mount --bind folder/file folder/file && $train $small --output folder/file'; status=$?
      else cp model folder/file; status=0; fi
      ls -A folder; cmp model folder/file && exit $status
      """
    #expect(try shell.output(script).hasSuffix("\nfile\n"))
  }

  @Test func oneFileForTwoOptionsIsRefused() throws {
    try shell.output(
      "echo old > file; ln -s file link; ln file hard; ln -s . folder; printf 'steps: 6\\n' > run.yaml; mkdir ck")
    let before = try shell.output("ls -lAR; cat file")
    for names in [
      "--metrics new --timeline new", "--metrics new --output ./new", "--timeline file --output link",
      "--metrics file --output hard", "--metrics folder/new --timeline $PWD/new",
      "--metrics file --timeline ../$(basename $PWD)/file",
      "--metrics - --output -", "--metrics /dev/stdout --timeline /dev/fd/1", "--metrics /dev/stderr --output /proc/self/fd/2",
      "--config run.yaml --metrics run.yaml", "--config run.yaml --output folder/run.yaml",
      "--config - --metrics run.yaml < run.yaml",
      "--checkpoint new --output new", "--checkpoint ck --metrics ck", "--checkpoint new --metrics new/",
      "--metrics file >> file", "--timeline file 2>> link",
    ] {
      let result = try shell.run("$train $small \(names)")
      let status: Int32 = names.hasSuffix("/") ? 74 : 64
      #expect(result.status == status && result.standardOutput == "", "\(names): \(result.status) \(result.standardError)")
      let words = result.standardError + ((try? shell.text("file")) ?? "").replacing("old\n", with: "")
      #expect(words.split(separator: "\n").count == 1 && words.hasPrefix("train: "), "\(names): \(words)")
      if names.contains("2>>") { try shell.output("echo old > file") }
    }
    let after = try shell.output("ls -lAR; cat file")
    #expect(after.replacing(#/[0-9]+:[0-9]+/#, with: "") == before.replacing(#/[0-9]+:[0-9]+/#, with: ""))
    // On several ranks one speaks for all.
    let job = try Job("train", ["--quiet", "--metrics", shell.path + "/x", "--output", shell.path + "/./x"]).run(
      ranks: 3, options: ["-q"])
    #expect(job.status == 64 && job.standardError.split(separator: "\n").count == 1, "\(job.standardError)")
  }

  @Test func aLinkMayLeadToTheCheckpoints() throws {
    try shell.output("mkdir elsewhere; ln -s elsewhere/ck link; $train $small --checkpoint link")
    #expect(try shell.output("ls elsewhere/ck; [ -L link ]") == "step-00000006\n")
    try shell.output("$train evaluate --checkpoint link")
  }

  @Test func filesOfTheDataAreNotWrittenOver() throws {
    try shell.output("mkdir data; echo images > data/train-images-idx3-ubyte")
    try shell.output("ln -s data/train-images-idx3-ubyte link; ln -s data folder; echo old > data/results")
    for name in ["data/train-images-idx3-ubyte", "link", "folder/train-images-idx3-ubyte"] {
      let result = try shell.run("$train --data idx:data --output \(name)")
      #expect(result.status == 64 && result.standardError.contains("is a file of --data idx:data"), "\(result.standardError)")
    }
    // Whoever keeps results beside the data may write them again.
    #expect(try shell.run("$train --data idx:data --output data/results").status == 65)
    #expect(try shell.text("data/train-images-idx3-ubyte") == "images\n")
  }

  @Test func descriptorsAreWrittenWhereTheyAre() throws {
    try shell.output("echo 'three days of results' > log; $train $small --metrics /dev/stdout >> log")
    #expect(try shell.text("log").hasPrefix("three days of results\n{\"event\":\"start\""))
    // With >, too, and by any name; the summaries leave the file to the events.
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
      let words = try shell.run("$train $small --metrics \(name) > log")
      #expect(try shell.events("log") == Shell.eventsOfSmall && words.standardError.contains("6 steps in"), "\(name)")
    }
    try shell.output("echo before > log; $train $small --metrics /dev/fd/7 7>> log > words")
    #expect(try shell.text("log").hasPrefix("before\n{") && shell.text("words").contains("6 steps in"))
    try shell.output("$train $small --metrics >(cat > copy; echo > done) > words; until [ -e done ]; do sleep 0.05; done")
    #expect(try shell.events("copy") == Shell.eventsOfSmall)
    try shell.output("$train $small --output model > words; $train $small --output - > copy && cmp model copy")
    let piped = try shell.run("$train $small --output - > copy")
    #expect(
      piped.standardError.contains("the model was written to standard output\n") && !piped.standardError.contains("is in -"))
    #expect(try shell.text("words").contains("the model is in model\n"))
    try shell.output("$train $small --timeline - > trace")
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: shell.data("trace")) }
    // A run that goes on appends where the descriptor is.
    try shell.output("$train $small --checkpoint ck; $train $small --steps 9 --checkpoint ck --resume --metrics - > log")
    #expect(try shell.events("log") == ["start", "step", "step", "step", "epoch", "checkpoint", "end"])
    let closed = try shell.run("$train $small --metrics /dev/fd/9 9>&-")
    #expect(closed.status == 74 && closed.standardError.contains("descriptor 9 is not open"), "\(closed.standardError)")
    // Ranks have standard outputs of their own.
    let shared = try Job("train", ["--quiet", "--timeline", "-"]).run(ranks: 2, options: ["-q"])
    #expect(
      shared.status == 64 && shared.standardError.contains("--timeline - is written by all ranks"), "\(shared.standardError)")
  }

  /// An old name in Latin-1.
  @Test func namesThatAreNotUTF8AreRefused() throws {
    for words in [
      "$small --metrics $'m\\xe9.jsonl'", "$small --output=$'\\xff'", "evaluate --checkpoint $'\\xe9'", "list $'\\xe9'",
    ] {
      let result = try shell.run("$train \(words)")
      #expect(result.status == 64, "\(words)")
      #expect(
        result.standardError.hasPrefix("train: argument ") && result.standardError.contains("is not UTF-8"),
        "\(result.standardError)")
    }
    #expect(try shell.names().isEmpty)
    try shell.output("$train $small --metrics 'mé.jsonl'")
    #expect(try shell.names() == ["mé.jsonl"])
  }
}
