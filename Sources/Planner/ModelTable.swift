public import Buffers
internal import Codecs
internal import Collectives
internal import Files
internal import Networks
internal import Strategies
public import Trainer
internal import Transport

/// A model in a table: its layers with their outputs and tensors, and the bytes that a step sends.
public struct ModelTable {
  /// The codecs whose bytes are shown if none are named.
  public static let usualCodecs = ["none", "one-bit", "multi-bit", "top-k"]
  private static let rankCounts = [2, 8]

  private let title: String
  private let network: any Network
  /// By codec, the bytes for each number of ranks.
  private let bytes: [(codec: String, counts: [Int])]

  /// The table of a model on samples of this form.
  ///
  /// - Parameters:
  ///   - recipe: Makes the model.
  ///   - model: Its specification.
  ///   - form: The form of the samples.
  ///   - samples: What they are called.
  ///   - codecs: The codecs whose bytes are shown.
  /// - Throws: `SpecificationError` if the model does not fit on the samples; `OptionError` if a codec is unknown or does not fit on
  ///   the model.
  public init(_ recipe: Recipe, model: String, form: SampleForm, of samples: String, codecs: [String]) throws {
    network = try recipe.network(form)
    let layout = network.layout
    bytes = try codecs.map { name in
      do {
        let aggregation = try aggregations.make(name)
        return (name, try ModelTable.rankCounts.map { try aggregation.bytesSent(of: layout, rankCount: $0) })
      } catch let error as SpecificationError { throw OptionError("--codec: \(error)") } catch let error as SketchError {
        throw OptionError("--codec: \(error)")
      }
    }
    title = "\(model) on \(samples): \(counted(layout.count, "parameter")), \(withPrefix(Double(4 * layout.count)))B as floats"
  }

  /// The table as text for a terminal.
  public var text: String {
    var rows = [["layer", "outputs", "parameters"]]
    for note in (network as? ComposedNetwork)?.notes ?? [] {
      let counts = note.tensors.map { $0.shape.reduce(1, *) }
      rows.append([note.summary, ModelTable.text(note.output), counts.isEmpty ? "" : String(counts.reduce(0, +))])
      for (tensor, count) in zip(note.tensors, counts) {
        rows.append(["  " + tensor.name, tensor.shape.map(String.init).joined(separator: "×"), String(count)])
      }
    }
    let names = bytes.map(\.codec)
    let counts = bytes.map { $0.counts.map { withPrefix(Double($0)) + "B" } }
    let statistics = ModelTable.rankCounts.map {
      StatisticsGather.traffic(of: network.sharedChannelCounts, neighbours: 0, remoteRanks: $0 - 1).bytesSent
    }
    let besides =
      statistics[0] > 0 ? [["norm=sync besides"] + statistics.map { withPrefix(Double($0)) + "B" }] : []
    let table =
      [["codec"] + ModelTable.rankCounts.map { counted($0, "rank") }] + zip(names, counts).map { [$0] + $1 } + besides
    return
      ([title] + ModelTable.lines(rows) + [
        "", "bytes that the busiest rank sends in a step, with every rank on a host of its own (at most, if they vary)",
      ] + ModelTable.lines(table)).joined(separator: "\n")
  }

  /// Rows of cells as lines of columns, the first at the left and the others at the right.
  private static func lines(_ rows: [[String]]) -> [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.indices.map { column in
        let space = String(repeating: " ", count: widths[column] - row[column].count)
        return column == 0 ? row[column] + space : space + row[column]
      }
      let end = cells.lastIndex { $0.contains { $0 != " " } } ?? 0
      return "  " + cells[...end].joined(separator: "  ")
    }
  }

  /// A shape without what is 1: `10`, `128×65` for positions of a text, `28×28×1` for images.
  private static func text(_ shape: SampleShape) -> String {
    if shape.pixelCount == 1 { return "\(shape.channels)" }
    return shape.width == 1 ? "\(shape.height)×\(shape.channels)" : "\(shape)"
  }
}

extension AggregationRecipe {
  /// The bytes that the busiest of `rankCount` ranks, each on a host of its own, sends of a gradient of this layout, headers included; an
  /// upper bound if the lengths of messages vary.
  func bytesSent(of layout: TensorLayout, rankCount: Int) throws -> Int {
    guard let codec else {
      let rounds = try rounds(layout, rankCount: rankCount)
      let rank = rounds.first { $0.isReturned }?.busiestRank ?? 0
      return rounds.reduce(0) { $0 + $1.mostSent(by: rank, of: rankCount) { _ in false }.bytesSent }
    }
    return ExchangePrediction(
      codec, layout: layout, ranks: rankCount, ranksPerHost: 1, topology: .flat, link: LinkCosts(latency: 0, bitsPerSecond: 1),
      costs: PlanCosts(compute: CostCurve(perUnit: 0))
    ).bytesSent
  }
}
