internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
public import Datasets
internal import MPI
internal import Optimizers
internal import Transport

/// Chooses a codec for a run by what its steps would take: gives it as people write it, and why, a sentence without a full stop.
///
/// Collective, and the same on all ranks. It has the run, without its codec, whose parameters are only read, and what it is trained
/// on.
public typealias CodecChooser = (_ parts: StrategyParts, _ dataset: any Dataset) throws -> (codec: String, reason: String)

/// The codec that a run with `--codec auto` has chosen, and why; the same on all ranks.
struct CodecChoice {
  /// The codec.
  let codec: any Codec
  /// A sentence without a full stop.
  let reason: String

  /// The codec as people write it.
  var specification: String { codec.specification }

  /// What `--codec` says to leave the choice to the ranks.
  static let word = "auto"

  private init(_ specification: String, reason: String) throws {
    codec = try codecs.make(specification)
    self.reason = reason
  }

  /// The choice of a run where there is one to make; nil where the codec was said.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - parts: The run, without its codec.
  ///   - saved: The run that is resumed, if it is.
  ///   - dataset: What it is trained on.
  ///   - optimizer: Makes an optimizer for measuring, whose state is lost.
  ///   - choose: Chooses the codec of a run that begins.
  init?(
    for parts: StrategyParts, saved: SavedRun?, dataset: any Dataset, optimizer: () -> any Optimizer, by choose: CodecChooser?
  ) throws {
    guard parts.options.codec == CodecChoice.word else { return nil }
    if let saved = saved?.counters["codec"] {
      try self.init(saved: saved)
    } else {
      var parts = parts
      parts.optimizer = optimizer()
      try self.init(choosing: choose, parts: parts, dataset: dataset)
    }
  }

  /// The choice of the run that is resumed, which must go on as it began.
  private init(saved specification: String) throws {
    do { try self.init(specification, reason: "the saved run had chosen it") } catch {
      throw TrainingError("the checkpoint's codec is unknown here: \(error)", exitStatus: .configuration)
    }
  }

  /// Takes the one that `choose` chooses.
  ///
  /// Collective.
  ///
  /// - Parameter parts: The run, without its codec.
  private init(choosing choose: CodecChooser?, parts: StrategyParts, dataset: any Dataset) throws {
    guard parts.grid.shareCount > 1 else {
      let ranks = parts.grid.all.world.count
      try self.init("none", reason: ranks == 1 ? "one rank exchanges nothing" : "no two ranks exchange gradients")
      return
    }
    guard let choose else {
      throw TrainingError("--codec \(CodecChoice.word): this program measures no codecs; name one", exitStatus: .configuration)
    }
    let (codec, reason) = try choose(parts, dataset)
    try self.init(codec, reason: reason)
  }
}
