import ArgumentParser
import Laboratory

/// The learning rates of each exchange method, tried on held-out training samples.
struct Choice: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Try learning rates, momentum and sizes on the last sixth of the training samples.")

  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  private static let rates: [(name: String, rate: Rate)] = [
    ("0.1, momentum 0.9", Rate(0.1, momentum: 0.9)),
    ("0.1, momentum 0.9, rising", Rate(0.1, momentum: 0.9, warmup: 300)),
    ("0.3", Rate(0.3, momentum: 0)),
    ("0.5, rising", Rate(0.5, momentum: 0, warmup: 300)),
    ("1, rising", Rate(1, momentum: 0, warmup: 300)),
  ]

  func checkRequirements() throws {
    try setting.checkData()
    guard setting.folder != nil else {
      throw Failure("samples are held out of files only; name their folder with --data idx:DIR")
    }
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    guard let folder = setting.folder else { return [] }
    let data = try HeldOut.specification(of: folder, in: telling.results)
    let families: [(Rate) -> Contender] = [
      Contender.floats, Contender.oneBit, { Contender.sketch(columns: 36, $0) }, { Contender.forgetful(columns: 20, $0) },
      { Contender.local(k: 210, $0) }, { Contender.forgetfulLocal(k: 120, $0) }, { Contender.trueTopK(k: 100, $0) },
    ]
    let contenders = families.map { family in Self.rates.map { family($0.rate) } }
    let jobs = contenders.joined().flatMap { contender in
      (1...setting.seeds).map { setting.job(contender.untilTheEnd, seed: $0, data: data) }
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "Accuracy on held-out training samples, in percent, by learning rate",
      columns: ["exchange", "sizes"] + Self.rates.map(\.name))
    var next = 0
    for family in contenders {
      var cells = [family[0].name, family[0].sizes]
      for _ in family {
        let own = reports[next..<next + setting.seeds]
        cells.append(Sample(values: try own.map { try 100 * $0.number("testAccuracy") }).text(digits: 2))
        next += setting.seeds
      }
      table.add(cells)
    }
    table.notes = [
      setting.description
        + " Trained on the first five sixths of the training samples; rising: over 300 steps. 0: diverged."
    ]
    return [table]
  }
}
