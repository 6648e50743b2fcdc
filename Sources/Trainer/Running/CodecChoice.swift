internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
public import Datasets
internal import MPI
internal import Networks
internal import Optimizers
public import Strategies
internal import Transport

/// Chooses a codec for a run by its time per step; returns its specification and the reason, a sentence without a full stop.
///
/// Collective, with the same result on all ranks. It gets the run, without its codec, whose parameters are only read, and the
/// data set it is trained on.
public typealias CodecChooser = (_ parts: StrategyParts, _ dataset: any Dataset) throws -> (codec: String, reason: String)

/// The codec that a run with `--codec auto` has chosen, and why; the same on all ranks.
struct CodecChoice {
  /// The codec.
  let codec: any Codec
  /// A sentence without a full stop.
  let reason: String

  /// The full specification of the codec.
  var specification: String { codec.specification }

  /// The value of `--codec` that leaves the choice to the ranks.
  static let word = "auto"

  private init(_ specification: String, reason: String) throws {
    codec = try codecs.make(specification)
    self.reason = reason
  }

  /// The choice of a run, if there is one to make; nil if the options name the codec.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - parts: The run, without its codec.
  ///   - saved: The run that is resumed, if any.
  ///   - dataset: The data set it is trained on.
  ///   - optimizer: Makes an optimizer for measuring, whose state is lost.
  ///   - choose: Chooses the codec of a new run.
  init?(
    for parts: StrategyParts, saved: SavedRun?, dataset: any Dataset, optimizer: () -> any Optimizer, by choose: CodecChooser?
  ) throws {
    guard parts.options.codec == CodecChoice.word else { return nil }
    if let saved = saved?.counters["codec"] {
      try self.init(saved: saved)
    } else {
      var parts = parts
      parts.optimizer = optimizer()
      // What they send is not the run's.
      parts.statistics = try StatisticsGather(for: parts.network, among: parts.hosts)
      try self.init(choosing: choose, parts: parts, dataset: dataset)
    }
  }

  /// The choice of the resumed run, which must go on as it began.
  private init(saved specification: String) throws {
    do { try self.init(specification, reason: "the saved run had chosen it") } catch {
      throw TrainingError("the checkpoint's codec is unknown here: \(error)", exitStatus: .configuration)
    }
  }

  /// The choice made by `choose`.
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
    func measure() throws -> (codec: String, reason: String) { try choose(parts, dataset) }
    let (codec, reason) = try parts.network.statistics?.restoring(after: measure) ?? measure()
    try self.init(codec, reason: reason)
  }
}
