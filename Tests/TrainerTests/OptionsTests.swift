import Buffers
import Collectives
import Foundation
import Optimizers
import PointToPoint
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

@Suite(.oneProcess) struct OptionsTests {
  /// A text for each option that differs from its default.
  static let texts = [
    "model": "softmax", "data": "idx:somewhere", "epochs": "7", "steps": "11", "minibatch": "64", "optimizer": "sgd:gain=unit",
    "learning-rate": "0.25", "momentum": "0.5", "weight-decay": "0.0001", "clip": "2.5", "schedule": "step:every=3",
    "tune-minibatch": "search:every=2", "tune-rate": "after-epoch", "codec": "none", "warm-start": "0", "strategy": "other",
    "seed": "18446744073709551615", "threads": "2",
    "checkpoint": "somewhere", "checkpoint-every": "5", "resume": "true", "metrics": "file", "timeline": "traces.json",
    "log-every": "3",
    "evaluate-every": "4", "verify-every": "0", "non-finite": "zero", "timeout": "2.5", "patience": "1.5", "output": "file",
    "quiet": "true", "transport": "messages", "inject-non-finite": "3:1",
    "realign": "1,3", "partition": "by-class:2", "clients": "40", "sampled": "4", "model-parallel": "2", "overlap": "inline",
    "topology": "flat", "inject-fault": "kill:rank=1,phase=exchange", "pretend-hosts": "2", "emulate-speed": "exp",
    "record": "file", "replay": "file",
    "init": "file", "shares": "20/10,25/5@100",
  ]

  @Test func everyOptionIsReadAndWrittenByItsName() throws {
    var options = TrainerOptions()
    for field in TrainerOptions.fields {
      let text = try #require(OptionsTests.texts[field.name], "no text for \(field.name)")
      #expect(field.read(options) != text)
      try options.set(field.name, to: text)
      #expect(field.read(options) == text)
    }
    #expect(OptionsTests.texts.count == TrainerOptions.fields.count)
    #expect(options.texts == OptionsTests.texts)
    let copy = try JSONDecoder().decode(TrainerOptions.self, from: JSONEncoder().encode(options))
    #expect(copy == options)
  }

  /// Speeds are read when they are given, and written as they are read.
  @Test func speedsAreReadAndWritten() throws {
    var options = TrainerOptions()
    for text in ["rr", "exp", "slow:5", "slow:2.5", "jitter:0", "jitter:0.25"] {
      try options.set("emulate-speed", to: text)
      #expect(options.texts["emulate-speed"] == text)
    }
    #expect(options.emulateSpeed == .jitter(extra: 0.25))
    try options.set("emulate-speed", to: "none")
    #expect(options == TrainerOptions())
    for wrong in ["", "slow", "slow:0.5", "jitter:-1", "fast"] {
      let error = #expect(throws: OptionError.self) { try options.set("emulate-speed", to: wrong) }
      #expect("\(error!)" == "--emulate-speed is rr, exp, slow:F with F from 1, or jitter:F, not '\(wrong)'")
    }
  }

  /// Names are unique, help has each default, and sections give the order.
  @Test func theTableSaysEverythingOnce() throws {
    let fields = TrainerOptions.fields
    #expect(Set(fields.map(\.name)).count == fields.count && Set(fields.map(\.key)).count == fields.count)
    #expect(SubjectOptions.fields.first?.name == "model" && fields.first?.name == "model" && fields.last?.name == "quiet")
    for field in fields where !field.isHidden {
      #expect(!field.help.contains("\n"), "\(field.name)")
      guard let usual = field.read(TrainerOptions()), field.valueName != nil else { continue }
      #expect(field.help.hasSuffix(". (default: \(usual))"), "\(field.name): \(field.help)")
    }
    #expect(fields.filter { $0.valueName == nil }.map(\.name) == ["resume", "quiet"])
    let forTests = fields.filter { $0.name.hasPrefix("inject") || $0.name.hasPrefix("pretend") }
    #expect(forTests.count == 3 && forTests.filter { $0.isHidden }.count == 3)
    let (number, word) = (try TrainerOptions.field("minibatch"), try TrainerOptions.field("model"))
    #expect(number.mayBeginWithDash && !word.mayBeginWithDash)
    #expect(try TrainerOptions.field("warm-start").key == "warmStart")
  }

  /// Values count, not how they came about; what was given is known beside them.
  @Test func valuesThatAreDefaultsAreEqualToThem() throws {
    var options = TrainerOptions()
    (options.clip, options.momentum, options.realign, options.overlap) = (2.5, 0.5, .every(2), .inline)
    #expect(options != TrainerOptions() && options.hashValue != TrainerOptions().hashValue)
    #expect(options.clip == 2.5 && options.momentum == 0.5 && options.realign == .every(2) && options.overlap == .inline)
    var others = options
    others.clip = 3
    #expect(others != options && options.clip == 2.5)
    (options.clip, options.momentum, options.realign, options.overlap) = (nil, 0.9, nil, .auto)
    #expect(options == TrainerOptions() && options.hashValue == TrainerOptions().hashValue)
    try options.set("codec", to: "one-bit")
    #expect(options.given.isEmpty)
    let given = try TrainerOptions(configuration: nil, commandLine: [("codec", "one-bit")])
    #expect(given == options && given.given == ["codec"])
  }

  /// A run that names no rate has that of its optimizer; one that names it keeps it, whatever comes before or after.
  @Test func theRateFollowsTheOptimizer() throws {
    for entry in optimizers.entries {
      var options = TrainerOptions()
      options.optimizer = entry.name
      let usual = try optimizers.make(entry.name).learningRate
      #expect(options.learningRate == usual && options.texts["learning-rate"] == "\(usual)")
      let others = [
        "sgd": 0.1, "adagrad": 0.1, "lamb": 0.002, "one-bit-lamb": 0.002, "lion": 0.0003, "distributed-lion": 0.0003,
        "signum": 0.0001,
      ]
      #expect(usual == (others[entry.name] ?? 0.001))
    }
    let adam = try TrainerOptions(configuration: nil, commandLine: [("optimizer", "adamw:beta2=0.99")])
    #expect(adam.learningRate == 0.001 && adam.given == ["optimizer"])
    let given = [("optimizer", "adamw:beta2=0.99"), ("learning-rate", "0.1")]
    for commandLine in [given, given.reversed()] {
      let options = try TrainerOptions(configuration: nil, commandLine: commandLine)
      #expect(options.learningRate == 0.1 && options != adam)
      #expect(options.differences(from: adam).map(\.name) == ["learning-rate"])
      let copy = try JSONDecoder().decode(TrainerOptions.self, from: JSONEncoder().encode(options))
      #expect(copy == options && copy.learningRate == 0.1)
    }
    // What is the default counts as it, given or not.
    var same = adam
    same.learningRate = 0.001
    #expect(same == adam && same.hashValue == adam.hashValue)
    same.optimizer = "sgd"
    #expect(same.learningRate == 0.001 && same != TrainerOptions())
    #expect(try TrainerOptions.field("learning-rate").help.contains("0.001 with adam and adamw"))
  }

  /// The default codec, too, is refused beside a strategy with a code of its own, but only if it was given.
  @Test func aCodecThatWasGivenDoesNotGoWithAStrategyThatHasOne() throws {
    for codec in ["one-bit", "none"] {
      let options = try TrainerOptions(configuration: nil, commandLine: [("strategy", "fetch-sgd"), ("codec", codec)])
      #expect {
        try Recipe(options)
      } throws: {
        "\($0)".hasPrefix("--codec \(codec) does not go with --strategy fetch-sgd, which has a code of its own")
      }
    }
    #expect(throws: Never.self) { try Recipe(TrainerOptions(configuration: nil, commandLine: [("strategy", "fetch-sgd")])) }
    // A checkpoint has all options.
    var saved = TrainerOptions()
    for (name, text) in try TrainerOptions(configuration: nil, commandLine: [("strategy", "fetch-sgd")]).texts {
      try saved.set(name, to: text)
    }
    #expect(throws: Never.self) { try Recipe(saved) }
  }

  @Test func defaultsAreThoseOfTheDesign() {
    let expected = [
      "model": "mlp:512,512", "data": "glyphs", "epochs": "5", "minibatch": "256", "optimizer": "sgd", "learning-rate": "0.1",
      "momentum": "0.9", "weight-decay": "0", "schedule": "cosine", "codec": "one-bit", "strategy": "all-reduce", "seed": "1",
      "threads": "1", "resume": "false", "log-every": "10", "verify-every": "100", "non-finite": "skip", "timeout": "60",
      "patience": "10", "quiet": "false", "transport": "auto", "model-parallel": "1", "overlap": "auto", "partition": "iid",
      "topology": "auto", "shares": "equal",
    ]
    #expect(TrainerOptions().texts == expected)
    #expect(TrainerOptions().faults(ranks: 256) == [])
  }

  @Test func eachFaultIsOneSentence() throws {
    let faulty: [(String, String, String)] = [
      ("clients", "0", "--clients"), ("sampled", "2", "--clients"), ("epochs", "0", "--epochs"), ("steps", "0", "--steps"),
      ("minibatch", "0", "--minibatch"),
      ("learning-rate", "-1", "--learning-rate"), ("learning-rate", "nan", "--learning-rate"),
      ("learning-rate", "0", "--learning-rate"), ("learning-rate", "1e60", "--learning-rate"),
      ("momentum", "1", "--momentum"), ("momentum", "-0.1", "--momentum"), ("momentum", "nan", "--momentum"),
      ("weight-decay", "-1", "--weight-decay"), ("clip", "0", "--clip"), ("clip", "inf", "--clip"),
      ("warm-start", "-1", "--warm-start"), ("threads", "0", "--threads"), ("checkpoint-every", "5", "--checkpoint"),
      ("resume", "true", "--checkpoint"), ("log-every", "0", "--log-every"), ("evaluate-every", "0", "--evaluate-every"),
      ("verify-every", "-1", "--verify-every"), ("timeout", "0", "--timeout"), ("timeout", "nan", "--timeout"),
      ("timeout", "1e300", "--timeout"), ("patience", "0", "--patience"), ("epochs", "9223372036854775807", "--epochs"),
      ("weight-decay", "1e300", "--weight-decay"),
      ("steps", "9223372036854775807", "--steps"),
      ("inject-non-finite", "3", "--inject-non-finite"), ("inject-non-finite", "3-1:0", "--inject-non-finite"),
      ("inject-non-finite", "3:0:half", "--inject-non-finite"),
    ]
    for (name, text, expected) in faulty {
      var options = TrainerOptions()
      try options.set(name, to: text)
      let faults = options.faults(ranks: 1)
      #expect(faults.count == 1 && faults[0].contains(expected) && !faults[0].contains("\n"), "\(name)=\(text): \(faults)")
    }
    var options = TrainerOptions()
    options.minibatch = 7
    #expect(options.faults(ranks: 7) == [])
    #expect(options.faults(ranks: 8).count == 1)
    options.epochs = 0
    #expect(throws: OptionError.self) { try options.validate(ranks: 8) }
    #expect(options.faults(ranks: 8).count == 2)
  }

  @Test func textsThatAreNoValuesAreRefused() {
    var options = TrainerOptions()
    for (name, text) in [
      ("epochs", "many"), ("epochs", "1.5"), ("seed", "-1"), ("learning-rate", "fast"), ("resume", "yes"),
      ("non-finite", "skipp"), ("transport", "tcp"), ("model", ""),
    ] {
      #expect(throws: OptionError.self, "\(name)=\(text)") { try options.set(name, to: text) }
    }
    #expect(options == TrainerOptions())
    #expect { try options.set("learnin-rate", to: "1") } throws: { "\($0)".contains("did you mean 'learning-rate'?") }
  }

  @Test func configurationFilesUseTheSameNames() throws {
    let yaml = "# a run\nmodel: mlp:7x2048,activation=sigmoid\nlearning-rate: 0.05\nsteps: 100\nresume: true\nseed: 3\n"
    let texts = try TrainerOptions.texts(inYAML: yaml, of: "run.yaml")
    #expect(texts.map(\.name) == ["model", "learning-rate", "steps", "resume", "seed"])
    #expect(texts.map(\.text) == ["mlp:7x2048,activation=sigmoid", "0.05", "100", "true", "3"])
    #expect(try TrainerOptions.texts(inYAML: "", of: "run.yaml").isEmpty)
    for (faulty, expected) in [
      ("model: softmax\ncodek: none", "run.yaml:2: unknown option 'codek'; did you mean 'codec'?"),
      ("- model", "mapping"), ("model: [1, 2]", "one value"), ("model: a\nmodel: b", "duplicate"), ("a: b: c", "YAML"),
    ] {
      #expect {
        try TrainerOptions.texts(inYAML: faulty, of: "run.yaml")
      } throws: {
        "\($0)".contains(expected) && ($0 as? OptionError)?.exitStatus == 65 && !"\($0)".contains("\n")
      }
    }
  }

  @Test func nullIsAnOptionThatWasNotGiven() throws {
    let yaml = """
      metrics: ~
      timeline: null
      output: Null
      checkpoint: NULL
      clip:
      steps: !!null 7
      seed: null # a comment
      model: "null"
      data: '~'
      schedule: !!str null
      """
    let texts = try TrainerOptions.texts(inYAML: yaml, of: "run.yaml")
    #expect(texts.map(\.name) == ["model", "data", "schedule"])
    #expect(texts.map(\.text) == ["null", "~", "null"])
    for nothing in ["", "~", "null", "# nothing", "---"] {
      #expect(try TrainerOptions.texts(inYAML: nothing, of: "run.yaml").isEmpty, "\(nothing)")
    }
    #expect(throws: OptionError.self) { try TrainerOptions.texts(inYAML: "codek: null", of: "run.yaml") }
  }

  /// The summary at the start prints `none` for what was not given.
  @Test func noneIsNoFile() throws {
    for name in ["metrics", "timeline", "output", "checkpoint", "clip", "realign", "clients", "tune-rate"] {
      for none in ["none", "None"] {
        var options = TrainerOptions()
        try options.set(name, to: try #require(OptionsTests.texts[name]))
        try options.set(name, to: none)
        #expect(options == TrainerOptions(), "\(name)")
      }
    }
    var options = TrainerOptions()
    try options.set("codec", to: "none")
    try options.set("metrics", to: "./none")
    #expect(options.codec == "none" && options.metrics == "./none")
    // What has another default than nothing does not get it by this word.
    #expect(throws: OptionError.self) { try options.set("warm-start", to: "none") }
    #expect(throws: OptionError.self) { try options.set("evaluate-every", to: "none") }
  }

  @Test func theCommandLineWins() throws {
    let path = NSTemporaryDirectory() + "morse-options-\(UUID().uuidString).yaml"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try "minibatch: 32\ncodec: none\n".write(toFile: path, atomically: true, encoding: .utf8)
    let options = try TrainerOptions(configuration: path, commandLine: [("minibatch", "64")])
    #expect(options.minibatch == 64 && options.codec == "none" && options.epochs == 5)
    #expect(throws: OptionError.self) { try TrainerOptions(configuration: path + ".none", commandLine: []) }
  }

  @Test func aResumedRunMayChangeItsLengthButNotItsModel() throws {
    let saved = TrainerOptions()
    var here = saved
    (here.epochs, here.steps, here.metrics, here.output, here.checkpoint) = (9, 4, "m", "o", "c")
    #expect(here.differences(from: saved).isEmpty)
    (here.model, here.momentum) = ("softmax", 0.5)
    #expect(here.differences(from: saved).map(\.name) == ["model", "momentum"])
  }

  /// `auto` is no entry of the list of codecs, but is known as one.
  @Test func anUnknownCodecNamesAutoAmongTheKnown() throws {
    let known = (aggregations.entries.map(\.name) + ["auto"]).joined(separator: ", ")
    for (codec, sentence) in [
      ("onebit", "did you mean 'one-bit'? known: \(known)"),
      ("aut", "did you mean 'auto'?"), ("auto:k=3", "--codec: codec 'auto' takes neither values nor keys"),
    ] {
      let options = try TrainerOptions(configuration: nil, commandLine: [("codec", codec)])
      #expect { try Recipe(options) } throws: { "\($0)".contains(sentence) }
    }
    #expect(throws: Never.self) { try Recipe(TrainerOptions(configuration: nil, commandLine: [("codec", "auto")])) }
  }

  @Test func choicesAreLookedUpWithTheNameOfTheOption() {
    for name in ["model", "data", "optimizer", "schedule", "codec", "strategy", "partition"] {
      var options = TrainerOptions()
      #expect(throws: Never.self) { try options.set(name, to: "nonsense") }
      #expect { try Recipe(options) } throws: { "\($0)".hasPrefix("--\(name): unknown") }
    }
    #expect(throws: Never.self) { try Recipe(TrainerOptions()) }
  }
}
