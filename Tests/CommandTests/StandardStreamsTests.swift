import Foundation
import Testing
import _TestSupport

/// Standard input, output and error of `train`: full, closed, pipes.
@Suite(.serialized, .outsideMPI) struct StandardStreamsTests {
  private let shell: Shell
  private let full = "train: cannot write standard output: No space left on device\n"
  private let closed = "train: cannot write standard output: Bad file descriptor\n"
  private let costs = "--minibatch 64 --frame-seconds 1ms --post-seconds 1ms --update-seconds 1ms --float-exchange-seconds 9ms"

  init() throws { shell = try Shell() }

  @Test func aResultThatIsLostIsAnError() throws {
    try shell.output("$train $small --checkpoint ck")
    for command in [
      "list", "evaluate --checkpoint ck", "plan \(costs)", "plan \(costs) --json", "--help", "--version", "plan --help",
    ] {
      for (place, words) in [("> /dev/full", full), (">&-", closed)] {
        let result = try shell.run("$train \(command) \(place)")
        #expect(result.status == 74 && result.standardError == words, "\(command) \(place): \(result)")
      }
      // Whoever has read enough has lost nothing.
      let cut = try shell.run("$train \(command) | head -c 1 > /dev/null; exit ${PIPESTATUS[0]}")
      #expect([0, 128 + SIGPIPE].contains(cut.status) && cut.standardError == "", "\(command): \(cut)")
    }
    // The picture is there all the same.
    let plan = try shell.run("$train plan \(costs) --plot plan.svg > /dev/full")
    #expect(try plan.status == 74 && shell.text("plan.svg").hasSuffix("</svg>\n"), "\(plan)")
  }

  @Test func aRunKeepsWhatItCanSave() throws {
    try shell.output("$train $small --output expected")
    for (place, words) in [("> /dev/full", full), (">&-", closed)] {
      let result = try shell.run(
        "$train $small --output model --metrics m.jsonl --timeline t.json --checkpoint ck \(place)")
      #expect(result.status == 74, "\(result)")
      let warning = words.dropFirst("train: ".count).dropLast()
      #expect(result.standardError == "warning: \(warning); the run goes on\n\(words)", "\(result.standardError)")
      #expect(try shell.data("model") == shell.data("expected"))
      #expect(try shell.events("m.jsonl").filter { $0 != "warning" && $0 != "checkpoint" } == Shell.eventsOfSmall)
      #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: shell.data("t.json")) }
      #expect(try shell.output("ls ck; rm -r ck model") == "step-00000006\n")
    }
    let cut = try shell.run("$train $small --output model | true; exit ${PIPESTATUS[0]}")
    #expect(cut.status == 0 && cut.standardError == "", "\(cut)")
    #expect(try shell.data("model") == shell.data("expected"))
  }

  @Test func allRanksEndAlikeAndRankZeroSpeaks() throws {
    let script = "[ $OMPI_COMM_WORLD_RANK != 0 ] || exec > /dev/full; exec $train $small --output model"
    let result = try shell.run("mpirun -q -np 3 bash -c '\(script)'")
    #expect(result.status == 74 && result.standardError.hasSuffix("run goes on\n\(full)"), "\(result)")
    try shell.output("$train $small --output expected")
    #expect(try shell.names() == ["expected", "model"])
    let said = result.standardError.matches(of: #/train: cannot write/#).count
    #expect(said == 1)
  }

  /// No file gets the number of a closed descriptor, and with it words that are not its own.
  @Test func closedDescriptorsAreNoFiles() throws {
    let noisy = "$train ${small/--quiet/}"
    for (run, status) in [
      ("$train $small --metrics m.jsonl >&-", 74), ("\(noisy) --metrics m.jsonl 2>&- > words", 0),
      ("$train $small --metrics m.jsonl <&- > words", 0), ("\(noisy) --metrics m.jsonl --checkpoint ck <&- >&- 2>&-", 74),
    ] as [(String, Int32)] {
      #expect(try shell.run(run).status == status, "\(run)")
      let events = try shell.events("m.jsonl").filter { $0 != "checkpoint" && $0 != "warning" }
      #expect(events == Shell.eventsOfSmall, "\(run)")
    }
    try shell.output("rm -r ck; \(noisy) --timeline t.json --output model --checkpoint ck <&- >&- 2>&-; [ $? = 74 ]")
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: shell.data("t.json")) }
    try shell.output("$train $small --output expected; cmp model expected; $train evaluate --checkpoint ck 2>&- <&-")
  }

  @Test func configurationsMayBePipes() throws {
    try shell.output(
      "printf 'steps: 2\\ndata: glyphs:train=60,test=20\\nmodel: mlp:8\\nquiet: true\\n' > run.yaml; mkfifo pipe")
    for place in [
      "--config <(cat run.yaml)", "--config /dev/stdin < run.yaml", "--config - < run.yaml", "--config /dev/fd/5 5< run.yaml",
      "--config <(sleep 0.3; cat run.yaml)",
    ] {
      #expect(try shell.output("$train \(place)").contains("2 steps in"), "\(place)")
    }
    #expect(try shell.output("cat run.yaml | $train --config -").contains("2 steps in"))
    #expect(try shell.output("cat run.yaml > pipe & $train --config pipe").contains("2 steps in"))
    // It is read once, for all that a plan wants to know of it.
    let plan = "plan --float-exchange-seconds 9ms --frame-seconds 1ms --brief --quiet"
    let strategy = "printf 'strategy: double-buffer\\nmodel: mlp:8\\ndata: glyphs:train=300,test=20\\n'"
    let direct = try shell.output("\(strategy) > plan.yaml; $train \(plan) --config plan.yaml | tail -2")
    let piped = try shell.output("\(strategy) | $train \(plan) --config - | tail -2")
    #expect(direct.contains("double-buffer") && piped.contains("double-buffer"), "\(direct)\(piped)")
    for (place, words) in [
      ("--config pipe", "it is a pipe that no process writes into"), ("--config /dev/zero", "File too large"),
      ("--config - <&-", "Bad file descriptor"), ("--config <(printf 'model: \\xe9')", "is not UTF-8 text"),
      ("--config /dev/fd/9 9<&-", "descriptor 9 is not open"),
    ] {
      let result = try shell.run("$train \(place)")
      #expect(result.status == 65 && result.standardError.contains(words), "\(place): \(result)")
    }
    // Of several ranks only one would get it.
    for name in ["-", "/dev/stdin", shell.path + "/pipe"] {
      let result = try Job("train", ["--config", name]).run(ranks: 2, options: ["-q"])
      #expect(result.status == 64 && result.standardError.contains("all 2 ranks read it"), "\(result)")
      #expect(result.standardError.split(separator: "\n").count == 1)
    }
  }

  @Test func nullInAConfigurationIsNoFile() throws {
    let script = """
      printf 'data: glyphs:train=60,test=20\\nmodel: mlp:8\\nsteps: 2\\nquiet: true\\nmetrics: ~\\ntimeline: null\\noutput: None\\n' > c.yaml
      printf 'checkpoint:\\nclip: null\\n' >> c.yaml; $train --config c.yaml --realign none; ls -A
      """
    #expect(try shell.output(script).hasSuffix("\nc.yaml\n"))
  }
}
