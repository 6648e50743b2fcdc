import ArgumentParser
import Files
import Laboratory

/// The costs of a minibatch, and the number of ranks K̂ beyond which the exchange is the limit.
struct Table1: PaperTable {
  static let configuration = CommandConfiguration(abstract: "The terms of the cost model, and the ranks that they allow.")

  @Option(help: ArgumentHelp("The hidden layers of the model that is measured.", valueName: "sizes")) var hidden = "512,512"
  @OptionGroup var telling: Telling

  /// The paper's figures: the time of a sub-batch and the cost of a frame, on one K20Xm.
  private static let subBatches: [(size: Int, milliseconds: Int, frameMicroseconds: Int)] = [
    (256, 59, 156), (512, 89, 137), (1024, 143, 122), (2048, 260, 118), (4096, 490, 115), (8192, 955, 114),
  ]

  /// The costs of a minibatch.
  struct Costs {
    /// T_frm, in seconds.
    var frame = PaperCosts.frame
    /// C · T_post.
    var post = 0.0
    /// T_upd.
    var update: Double
  }

  /// A case of equation 4: costs, the exchange of floats, and the minibatch.
  struct Case {
    let name: String
    let costs: Costs
    let floatExchangeMilliseconds: Double
    let minibatch: Int

    /// The paper's costs and minibatches, for a slow and a fast exchange (its 1-bit exchange takes 3 to 10 ms).
    static let all = [320.0, 96].flatMap { time in
      [1024, 2880, 16384].map {
        Case(
          name: "paper's", costs: Costs(post: PaperCosts.post, update: PaperCosts.update), floatExchangeMilliseconds: time,
          minibatch: $0)
      }
    }

    /// Our costs and minibatches, for 100 Mbit/s and 1 Gbit/s.
    static func own(_ costs: Costs, parameters: Int) -> [Case] {
      [(name: "ours, 100 Mbit/s", rate: 1e8), ("ours, 1 Gbit/s", 1e9)].flatMap { link in
        [256, 1024, 2880].map {
          Case(
            name: link.name, costs: costs, floatExchangeMilliseconds: 1e3 * Double(2 * 32 * parameters) / link.rate,
            minibatch: $0)
        }
      }
    }

    var job: Job {
      func milliseconds(_ seconds: Double) -> String { decimal(1e3 * seconds, digits: 6) + "ms" }
      return Job(
        name: "\(name), minibatch \(minibatch), T_float \(decimal(floatExchangeMilliseconds, digits: 0)) ms", program: "train",
        ranks: 1,
        arguments: [
          "plan", "--json", "--minibatch", String(minibatch), "--frame-seconds", milliseconds(costs.frame), "--post-seconds",
          milliseconds(costs.post), "--update-seconds", milliseconds(costs.update), "--float-exchange-seconds",
          milliseconds(floatExchangeMilliseconds / 1e3), "--codec", "one-bit",
        ])
    }
  }

  /// K̂ of one codec without and with double buffering; nil if the link is never the limit.
  struct Limits {
    let plain: Double?
    let doubleBuffered: Double?

    /// The limits of `codec` in the report of a plan.
    init(_ report: Report, codec: String) throws {
      let rows = report.lines.last?["saturation"] as? [[String: Any]] ?? []
      guard let row = rows.first(where: { ($0["codec"] as? String)?.hasPrefix(codec) ?? false }) else {
        throw Failure("the plan for \(report.job.name) does not tell the limit of \(codec)")
      }
      plain = row["ranks"] as? Double
      doubleBuffered = row["ranksDoubleBuffered"] as? Double
    }

    var text: String { "\(Self.text(plain)) / \(Self.text(doubleBuffered))" }

    private static func text(_ ranks: Double?) -> String {
      ranks.map { decimal($0, digits: $0 < 10 ? 2 : 1) } ?? "∞"
    }
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let measured = try laboratory.run(Self.subBatches.map { step(of: $0.size) })
    let frames = try measured.map { try $0.number("forward") + $0.number("backward") }
    let own = Costs(
      frame: frames[frames.count - 1] / Double(Self.subBatches[frames.count - 1].size),
      update: try measured.map { try $0.number("update") }.min() ?? 0)

    var terms = TextTable(
      "Table 1: time of a sub-batch and cost of a frame",
      columns: ["sub-batch", "paper: time (ms)", "paper: T_frm (µs)", "time (ms)", "T_frm (µs)"])
    for (index, row) in Self.subBatches.enumerated() {
      terms.add([
        String(row.size), String(row.milliseconds), String(row.frameMicroseconds),
        decimal(1e3 * (try measured[index].number("p50")), digits: 1),
        decimal(1e6 * frames[index] / Double(row.size), digits: 1),
      ])
    }
    terms.notes = [
      "The paper: 7 hidden layers of 2048 units, 46 million parameters, one K20Xm; C · T_post + T_upd = 18.2 ms, T_upd about "
        + "9 ms, an exchange at 1 bit 3 to 10 ms. Here: 784-\(hidden.replacing(",", with: "-"))-10, one core; "
        + "T_upd = \(decimal(1e3 * own.update, digits: 2)) ms, which includes momentum, so that no passes are left for C · T_post."
    ]

    let cases = Case.all + Case.own(own, parameters: parameterCount)
    var limits = TextTable(
      "Ranks K̂ that a link can feed, by equation 4 and train plan (without / with double buffering)",
      columns: ["costs", "T_float (ms)", "minibatch", "floats", "1 bit"])
    for (subject, report) in zip(cases, try laboratory.run(cases.map(\.job))) {
      limits.add([
        subject.name, decimal(subject.floatExchangeMilliseconds, digits: 0), String(subject.minibatch),
        try Limits(report, codec: "none").text, try Limits(report, codec: "one-bit").text,
      ])
    }
    limits.notes = [
      "Without double buffering nothing is hidden behind computing, and K̂ stands for the ranks with which computing takes as "
        + "long as the exchange. ∞: one bit's exchange takes no longer than T_upd, and the network is never the limit. Our own "
        + "costs: those above, and for T_float twice the bytes of all gradients over the rate of the link."
    ]
    return [terms, limits]
  }

  /// Real steps on one rank.
  private func step(of minibatch: Int) -> Job {
    Job(
      name: "sub-batch \(minibatch)", program: "bench", ranks: 1,
      arguments: [
        "step", "--json", "--model", "mlp:\(hidden)", "--minibatch", String(minibatch), "--codec", "none", "--turns", "5",
        "--iterations", String(max(1, 8192 / minibatch)),
      ])
  }

  /// The weights and biases of 784 inputs, the hidden layers and 10 classes.
  private var parameterCount: Int {
    let sizes = [784] + hidden.split(separator: ",").compactMap { Int($0) } + [10]
    return zip(sizes, sizes.dropFirst()).reduce(0) { $0 + ($1.0 + 1) * $1.1 }
  }
}
