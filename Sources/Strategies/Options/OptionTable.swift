internal import Buffers
public import Collectives
internal import Optimizers
public import PointToPoint
public import Transport

// The table of options. A new option is one row here and its use as `options.name`. The command line, YAML files, help, the
// summary at the start, the start event of metrics files, checkpoints and the comparison on resume follow from it. The third argument of a
// row is its documentation, which `train --help` prints.

/// The options of what is trained, and for how long.
public struct SubjectOptions: OptionTable {
  public static let title = "What to train"
  static let rows = SubjectOptions()

  public let model = OptionRow<String>("model", "mlp:512,512", "The model.", value: "spec")
  public let data = OptionRow<String>("data", "glyphs", "The data.", value: "spec")
  public let partition = OptionRow<String>(
    "partition", "iid", "How training samples are dealt to clients: iid, by-class:N or dirichlet:ALPHA.", value: "spec")
  public let clients = OptionRow<Int?>(
    "clients", nil, "Clients that hold the training samples.", value: "n", otherwise: "one for each rank", mayBeNone: true,
    checkGiven: OptionCheck.atLeast(1))
  public let sampled = OptionRow<Int?>(
    "sampled", nil, "Clients that share a step.", value: "n", otherwise: "as many as ranks", mayBeNone: true,
    checkGiven: OptionCheck.atLeast(1))
  // Products of larger numbers would not fit in 64 bits, and such a run would never end in practice.
  public let epochs = OptionRow<Int>(
    "epochs", 5, "How often every training sample is used.", value: "n", mayChangeOnResume: true,
    check: OptionCheck.from(1, atMost: 1_000_000_000))
  public let steps = OptionRow<Int?>(
    "steps", nil, "The length in steps; wins over --epochs.", value: "n", mayChangeOnResume: true,
    checkGiven: OptionCheck.from(1, atMost: 1_000_000_000_000))
  public let minibatch = OptionRow<Int>(
    "minibatch", 256, "Samples per step over all ranks, at least one per rank.", value: "n", check: OptionCheck.atLeast(1))
  public let seed = OptionRow<UInt64>("seed", 1, "The seed of everything random.", value: "n")
  public let threads = OptionRow<Int>(
    "threads", 1, "Threads of matrix products per rank.", value: "n",
    check: { (1...1024).contains($0) ? nil : "is 1 to 1024, not \($0)" })
}

/// The options of how gradients become updates.
public struct DescentOptions: OptionTable {
  public static let title = "How to train"
  static let rows = DescentOptions()

  public let optimizer = OptionRow<String>(
    "optimizer", "sgd", "How a gradient becomes an update: sgd, adagrad, adam or adamw, whose keys 'train list' shows.",
    value: "spec")
  public let learningRate = OptionRow<Double>(
    "learning-rate", usualRate,
    "The rate η, for the mean gradient of a minibatch; \(ratesOfOptimizers) if it is not given.", value: "x",
    following: { try? optimizers.make($0.optimizer).learningRate },
    check: { $0.isFinite && Float($0).isFinite && Float($0) > 0 ? nil : "is a finite number above 0, not \($0)" })
  public let momentum = OptionRow<Double>(
    "momentum", 0.9, "The share ρ of the direction that stays: u ← ρu + g, w ← w − ηu; adam has beta1 instead.", value: "x",
    check: { $0 >= 0 && $0 < 1 ? nil : "is a number from 0 to below 1, not \($0)" })
  public let weightDecay = OptionRow<Double>(
    "weight-decay", 0,
    """
    Adds this times the parameters to the gradient, before the momentum; adamw takes it from them apart from the gradient. All decay \
    with sgd and adagrad, with adam and adamw matrices alone.
    """,
    value: "x",
    check: { $0 >= 0 && Float($0).isFinite ? nil : "is a finite number from 0, not \($0)" })
  public let clip = OptionRow<Double?>(
    "clip", nil,
    "The largest norm of the aggregated gradient, as sketches estimate it with fetch-sgd; "
      + "longer ones are shortened to it; none by default.",
    value: "x", mayBeNone: true, checkGiven: { $0.isFinite && $0 > 0 ? nil : "is a finite norm above 0, not \($0)" })
  public let schedule = OptionRow<String>("schedule", "cosine", "How the rate changes over the planned steps.", value: "spec")
  public let tuneMinibatch = OptionRow<String?>(
    "tune-minibatch", nil, "How the minibatch is tuned while training, between epochs; it stays the same by default.",
    value: "spec", mayBeNone: true)
  public let tuneRate = OptionRow<String?>(
    "tune-rate", nil,
    "How the rate is tuned by how training goes, between epochs; by default it follows its schedule alone.", value: "spec",
    mayBeNone: true)
  public let nonFinite = OptionRow<NonFinitePolicy>(
    "non-finite", .skip,
    "What to do with a step whose gradient is not finite: skip, abort or zero; ten skipped in a row end the run.",
    value: "policy")
  public let realign = OptionRow<RealignmentEpochs?>(
    "realign", nil, "Epochs after which the model aligns the labels of speech anew: 2, or 1,3, or every:2; never by default.",
    value: "epochs", mayBeNone: true)
  public let injectNonFinite = OptionRow<String?>(
    "inject-non-finite", nil, "The step and rank whose gradient gets a value that is not a number.", value: "STEP:RANK",
    mayChangeOnResume: true, isHidden: true,
    checkGiven: { NonFiniteInjection($0) != nil ? nil : "is STEP:RANK or FIRST-LAST:RANK:HALF, not '\($0)'" })
  public let injectFault = OptionRow<String?>(
    "inject-fault", nil, "What happens to a rank, and when.", value: "KIND:rank=R,phase=P", mayChangeOnResume: true,
    isHidden: true,
    checkGiven: {
      FaultInjector.Fault($0) != nil ? nil : "is KIND:rank=R,phase=P, with step=S, time=N and seconds=T, not '\($0)'"
    })
  public let pretendHosts = OptionRow<Int?>(
    "pretend-hosts", nil, "A number of hosts, to which the ranks of this one are dealt in order.", value: "n",
    mayChangeOnResume: true, isHidden: true, checkGiven: OptionCheck.atLeast(1))
}

/// The rate of the usual optimizer, if a run names none.
private let usualRate = 0.1

/// The rates of the other optimizers whose runs have another by default: `0.001 with adam and adamw`.
private let ratesOfOptimizers: String = {
  let others = optimizers.entries.compactMap { entry in
    (try? optimizers.make(entry.name).learningRate).flatMap { $0 == usualRate ? nil : (entry.name, rate: $0) }
  }
  let texts = Dictionary(grouping: others) { $0.rate }.sorted { $0.key < $1.key }
    .map { "\($0.key.optionText ?? "") with \($0.value.map(\.0).joined(separator: " and "))" }
  return texts.joined(separator: ", ")
}()

/// The options of how ranks exchange gradients.
public struct ExchangeOptions: OptionTable {
  public static let title = "How ranks exchange"
  static let rows = ExchangeOptions()

  public let codec = OptionRow<String>(
    "codec", "one-bit", "How gradients are encoded; auto: the one whose signal arrives earliest, as measured.", value: "spec")
  public let warmStart = OptionRow<WarmStart?>(
    "warm-start", nil,
    """
    The start: N steps of floats (a tenth of the run by default); replicated:N, every rank computes whole minibatches; \
    bits:32xN+8xN+2xN, fewer and fewer bits; auto, floats until the gradient is 80 % noise, for a quarter of the run at most.
    """,
    value: "start", checkGiven: \.fault)
  public let strategy = OptionRow<String>("strategy", "all-reduce", "How ranks work together.", value: "spec")
  public let modelParallel = OptionRow<Int>(
    "model-parallel", 1,
    "Ranks that a model is split over, by the output units of its layers; K models on K times as many ranks.", value: "n",
    check: OptionCheck.atLeast(1))
  public let overlap = OptionRow<Overlap>(
    "overlap", .auto,
    """
    What advances an exchange while the model computes: a thread, inline (the rank itself, between layers), off, or auto, which is \
    off inside one host.
    """,
    value: "mode", mayChangeOnResume: true)
  public let shares = OptionRow<ShareRule>(
    "shares", .equal,
    """
    The samples of each rank in a step: equal; measured, by how fast ranks are, looked at every 100 steps (measured:every=N); or \
    numbers such as 20/10/20, and 25/8/17@STEP for those after a step.
    """,
    value: "shares")
  public let emulateSpeed = OptionRow<EmulatedSpeed?>(
    "emulate-speed", nil,
    """
    With --shares measured, what ranks seem to take; of asynchronous strategies: gradients and pushes count in the order of \
    workers with these speeds, in emulated time: rr (all equal), exp, \
    slow:F (the last F times slower) or jitter:F (now and then F slower); as they come by default.
    """,
    value: "speed", otherwise: "as they come", mayBeNone: true)
  public let topology = OptionRow<Topology>(
    "topology", .auto,
    """
    flat, or hierarchical: the ranks of a host add up before one of them encodes; auto: hierarchical if several hosts have several \
    ranks.
    """,
    value: "topology")
  public let transport = OptionRow<Transport>(
    "transport", .auto, "auto: shared memory inside a host; messages: messages everywhere.", value: "transport",
    mayChangeOnResume: true)
  public let timeout = OptionRow<Double>(
    "timeout", 60, "Seconds without progress after which the run names the rank it waits for and ends.", value: "s",
    mayChangeOnResume: true, check: OptionCheck.seconds)
  public let patience = OptionRow<Double>(
    "patience", 10, "Seconds without progress after which a warning names the rank it waits for.", value: "s",
    mayChangeOnResume: true, check: OptionCheck.seconds)
}

/// The options of what is saved.
public struct FileOptions: OptionTable {
  public static let title = "Checkpoints and results"
  static let rows = FileOptions()

  public let checkpoint = OptionRow<String?>(
    "checkpoint", nil, "The directory of checkpoints, which all hosts share; none by default.", value: "dir",
    mayChangeOnResume: true, mayBeNone: true)
  public let checkpointEvery = OptionRow<Int?>(
    "checkpoint-every", nil, "Steps between checkpoints; one more is written at the end.", value: "n", mayChangeOnResume: true,
    mayBeNone: true, checkGiven: OptionCheck.atLeast(1, " step"))
  public let resume = OptionRow<Bool>(
    "resume", false, "Continue from the newest complete checkpoint.", mayChangeOnResume: true)
  public let initialModel = OptionRow<String?>(
    "init", nil, "The parameters to begin with, a safetensors file such as --output writes or PyTorch; drawn by default.",
    value: "file", otherwise: "drawn", mayChangeOnResume: true, mayBeNone: true)
  public let output = OptionRow<String?>(
    "output", nil, "The final model, as safetensors.", value: "file", mayChangeOnResume: true, mayBeNone: true)
}

/// The options of what is reported, and how often.
public struct ReportOptions: OptionTable {
  public static let title = "Reports"
  static let rows = ReportOptions()

  public let metrics = OptionRow<String?>(
    "metrics", nil, "The progress and results of the run as JSON lines.", value: "file", mayChangeOnResume: true,
    mayBeNone: true)
  public let timeline = OptionRow<String?>(
    "timeline", nil,
    "What each rank does, and when, as Chrome trace events for ui.perfetto.dev; a run that is killed keeps them.",
    value: "file", mayChangeOnResume: true, mayBeNone: true)
  public let record = OptionRow<String?>(
    "record", nil, "Of asynchronous strategies: the order in which gradients and pushes counted, as JSON lines.", value: "file",
    mayChangeOnResume: true, mayBeNone: true)
  public let replay = OptionRow<String?>(
    "replay", nil, "Of asynchronous strategies: a file of --record, whose order this run follows, bit for bit.", value: "file",
    mayChangeOnResume: true, mayBeNone: true)
  public let logEvery = OptionRow<Int>(
    "log-every", 10, "Steps between logged steps.", value: "n", mayChangeOnResume: true, check: OptionCheck.atLeast(1, " step"))
  public let evaluateEvery = OptionRow<Int?>(
    "evaluate-every", nil, "Steps between evaluations on the test samples; an epoch by default.", value: "n",
    mayChangeOnResume: true, checkGiven: OptionCheck.atLeast(1, " step"))
  public let verifyEvery = OptionRow<Int>(
    "verify-every", 100, "Steps between checks that all ranks hold the same model; 0 for never.", value: "n",
    mayChangeOnResume: true, check: { $0 >= 0 ? nil : "is a number of steps, or 0 for never, not \($0)" })
  public let quiet = OptionRow<Bool>("quiet", false, "No progress; summaries and warnings stay.", mayChangeOnResume: true)
}
