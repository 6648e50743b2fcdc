import Files
import Laboratory
import Reporting

/// A model to train with each code, from the same start, by the same samples and without a warm start.
struct Comparison {
  /// What is compared.
  enum Result { case accuracy, loss }

  let title: String
  let data: String
  /// What the data's specification ends with to train without some samples and evaluate on them; nil if it cannot.
  let heldOut: String?
  /// The learning rates to choose from; a code that is best at the lowest is tried at lower ones, too.
  let rates: [String]
  let options: [String]
  let result: Result
  /// Whether codes can be compared that change the model themselves.
  var isPlainDescent = true

  /// The codes, from many bits to few.
  static let codes = [
    "none", "fp16", "bf16", "uniform", "natural", "qsgd:levels=127", "multi-bit", "uniform:bits=4", "codebook", "e3m0", "qsgd",
    "nuqsgd", "qsgd:levels=23,code=elias", "rotated:bits=4", "multi-bit:bits=2,range=2", "codebook:bits=2", "terngrad",
    "fixed-threshold", "rotated:bits=2", "vector:bits=8", "one-bit", "one-bit:feedback=0.25", "rotated", "ef-sign", "vector",
    "vector:form=nearest", "low-rank", "low-rank:rank=1", "pca", "leader-top-k", "threshold", "chunk-top-k", "unbiased-k",
    "random-k",
    "projection", "adaptive", "terngrad:scales=shared,sums=exact",
  ]
  /// Codes that deliver a change of the model: plain descent alone.
  static let changes = ["top-k", "fetch-sgd"]

  /// A run; on held-out samples, or for the loss of training, if it has no seed.
  private func job(_ code: String, rate: String, seed: Int?, ranks: Int) -> Job {
    var job = Job(
      name: "\(code), rate \(rate), \(seed.map { "seed \($0)" } ?? "trial")", program: "train", ranks: ranks,
      arguments: [
        "--data", data + (seed == nil ? heldOut ?? "" : ""), "--codec", code, "--warm-start", "0", "--learning-rate", rate,
        "--verify-every", "0", "--evaluate-every", "1000000", "--seed", String(seed ?? 100),
      ] + options)
    job.mayDiverge = true
    return job
  }

  /// The loss by which a rate is chosen: that of held-out samples, or else of the last steps of training; the test set has no part in it.
  private func loss(_ report: Report) throws -> Double {
    if report.hasDiverged { return .infinity }
    if heldOut != nil { return try report.number("testLoss") }
    guard let loss = report.lines.last(where: { $0["trainLoss"] is Double })?["trainLoss"] as? Double else {
      throw Failure("the run '\(report.job.name)' does not tell its loss of training")
    }
    return loss
  }

  /// The best rate of each code; while the lowest is the best of all tried, its half is tried, up to five times.
  private func chosenRates(_ codes: [String], _ laboratory: Laboratory, ranks: Int) throws -> [String] {
    var tried: [[(rate: String, loss: Double)]] = Array(repeating: [], count: codes.count)
    var next = codes.map { _ in rates }
    for _ in 0...5 {
      let jobs = codes.indices.flatMap { code in next[code].map { job(codes[code], rate: $0, seed: nil, ranks: ranks) } }
      var losses = try laboratory.run(jobs).map(loss)[...]
      for code in codes.indices {
        tried[code] += next[code].map { ($0, losses.removeFirst()) }
        let lowest = tried[code].min { Double($0.rate)! < Double($1.rate)! }!
        let isBest = tried[code].allSatisfy { $0.loss >= lowest.loss }
        next[code] = isBest ? [String(Double(lowest.rate)! / 2)] : []
      }
      if next.allSatisfy(\.isEmpty) { break }
    }
    return tried.map { $0.min { $0.loss < $1.loss }!.rate }
  }

  /// The bits that the busiest rank sent of each value in each direction, and in each step.
  private func bits(_ report: Report) throws -> Double {
    guard let wire = report.end?["wire"] as? [String: Any], let sent = (wire["bytesSent"] as? [Int])?.max(),
      let steps = report.end?["steps"] as? Int, let values = report.lines.first?["parameters"] as? Int
    else { throw Failure("the run '\(report.job.name)' does not tell its bytes") }
    let share = 2 * Double(report.job.ranks - 1) / Double(report.job.ranks)
    return 8 * Double(sent) / (share * Double(values) * Double(steps))
  }

  /// One row for each code, and the picture if it is asked for.
  func table(_ laboratory: Laboratory, _ setting: Setting) throws -> TextTable {
    let codes = setting.codec.isEmpty ? Self.codes + (isPlainDescent ? Self.changes : []) : setting.codec
    let chosen = try chosenRates(codes, laboratory, ranks: setting.ranks)
    let reports = try laboratory.run(
      zip(codes, chosen).flatMap { code, rate in
        (1...setting.seeds).map { job(code, rate: rate, seed: $0, ranks: setting.ranks) }
      })
    var table = TextTable(
      "\(title) on \(setting.ranks) ranks",
      columns: [
        "code", "rate", result == .accuracy ? "accuracy in percent" : "loss per character", "test loss", "bits per value",
      ])
    var points: [(name: String, x: Double, y: Double)] = []
    for (index, code) in codes.enumerated() {
      let own = reports[index * setting.seeds..<(index + 1) * setting.seeds]
      if own.contains(where: \.hasDiverged) {
        table.add([code, chosen[index], "diverged", "–", "–"])
        continue
      }
      let losses = Sample(values: try own.map { try $0.number("testLoss") })
      let found =
        result == .accuracy ? Sample(values: try own.map { try 100 * $0.number("testAccuracy") }) : losses
      let bits = Sample(values: try own.map(bits)).mean
      points.append((code, bits, found.mean))
      table.add([
        code, chosen[index], found.text(digits: result == .accuracy ? 2 : 4), losses.text(digits: 4), decimal(bits, digits: 3),
      ])
    }
    table.notes = [
      "No warm start; momentum 0.9 or AdamW, rate falling as a cosine. Each code at its best rate by "
        + (heldOut == nil ? "the loss of training" : "the loss on training samples that were held out")
        + ". Bits are those that the busiest rank sent of each value in each direction and step, headers and indices among them. "
        + "Mean (and range) of \(setting.seeds) seeds."
    ]
    try draw(points, to: setting.svg)
    return table
  }

  /// The result against bits: a point for each code.
  private func draw(_ points: [(name: String, x: Double, y: Double)], to file: String?) throws {
    guard let file else { return }
    let plot = SVGPlot(
      title: title, x: .init("bits per value and direction", .logarithmic(base: 2)),
      y: .init(result == .accuracy ? "test accuracy in percent" : "test loss per character"),
      series: points.map { .init($0.name, [($0.x, $0.y)]) })
    do { try plot.write(to: FileDestination(file)) } catch { throw Failure("\(error)") }
  }
}
