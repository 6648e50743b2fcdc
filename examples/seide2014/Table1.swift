import ArgumentParser
import Trainer

/// The costs of a minibatch, and the number of ranks K̂ beyond which the exchange is the limit.
struct Table1: PaperTable {
  static let configuration = CommandConfiguration(abstract: "The terms of the cost model, and the ranks that they allow.")

  @OptionGroup var telling: Telling

  /// The paper's: the time of a sub-batch and the cost of a frame, on one K20Xm.
  private static let subBatches: [(size: Int, milliseconds: Int, frameMicroseconds: Int)] = [
    (256, 59, 156), (512, 89, 137), (1024, 143, 122), (2048, 260, 118), (4096, 490, 115), (8192, 955, 114),
  ]

  /// A case of equation 4 with the paper's costs: the exchange of floats, and the minibatch.
  struct Case {
    let floatExchangeMilliseconds: Int
    let minibatch: Int

    /// The three minibatches of the paper, for a slow and a fast exchange (its 1-bit exchange takes 3 to 10 ms).
    static let all = [320, 96].flatMap { time in
      [1024, 2880, 16384].map { Case(floatExchangeMilliseconds: time, minibatch: $0) }
    }

    var job: Job {
      Job(
        name: "minibatch \(minibatch), T_float \(floatExchangeMilliseconds) ms", program: "train", ranks: 1,
        arguments: [
          "plan", "--json", "--minibatch", String(minibatch), "--frame-seconds", "0.118ms", "--post-seconds", "9.2ms",
          "--update-seconds", "9ms", "--float-exchange-seconds", "\(floatExchangeMilliseconds)ms", "--codec", "one-bit",
        ])
    }
  }

  /// K̂ of one codec without and with double buffering; nil where the link is never the limit.
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
    var terms = TextTable(
      "Table 1: time of a sub-batch and cost of a frame",
      columns: ["sub-batch", "paper: time (ms)", "paper: T_frm (µs)"])
    for row in Self.subBatches {
      terms.add([String(row.size), String(row.milliseconds), String(row.frameMicroseconds)])
    }
    terms.notes = [
      "The paper: 7 hidden layers of 2048 units, 46 million parameters, one K20Xm; C · T_post + T_upd = 18.2 ms, T_upd about "
        + "9 ms, an exchange at 1 bit 3 to 10 ms."
    ]

    var limits = TextTable(
      "Ranks K̂ that a link can feed, by equation 4 and train plan (without / with double buffering)",
      columns: ["costs", "T_float (ms)", "minibatch", "floats", "1 bit"])
    for (subject, report) in zip(Case.all, try laboratory.run(Case.all.map(\.job))) {
      limits.add([
        "paper's", String(subject.floatExchangeMilliseconds), String(subject.minibatch),
        try Limits(report, codec: "none").text, try Limits(report, codec: "one-bit").text,
      ])
    }
    limits.notes = [
      "Without double buffering nothing is hidden behind computing, and K̂ stands for the ranks with which computing takes as "
        + "long as the exchange. ∞: one bit's exchange takes no longer than T_upd, and the network is never the limit."
    ]
    return [terms, limits]
  }
}
