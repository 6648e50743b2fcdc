internal import Buffers
internal import Collectives
internal import Kernels
package import Transport

/// What ranks exchange about a step before anything is encoded: whether it may be done at all, and what is reported about it.
package struct StepAgreement {
  /// What one rank reports.
  package struct Statement {
    /// The number of its samples.
    var sampleCount = 0
    /// The samples for which what it contributes counts, if that is not a gradient.
    var weight = 0
    /// How many of them were classified correctly.
    var correctCount = 0
    /// The first tensor whose gradient has a non-finite value.
    var nonFiniteTensor: Int?
    /// The number of values it replaced by zero.
    var clearedValues = 0
    /// Whether it was asked to stop.
    var isStopRequested = false
    /// The learning rate that it computed.
    var rate: Float = 0
    /// Σ −log p of its samples.
    var lossSum = 0.0
    /// ‖gradient‖².
    var gradientSquares = 0.0
    /// ‖residual‖².
    var residualSquares = 0.0

    /// Adds a gradient of several that are reported together.
    mutating func add(_ found: Statement) {
      sampleCount += found.sampleCount
      correctCount += found.correctCount
      lossSum += found.lossSum
      clearedValues += found.clearedValues
      nonFiniteTensor = nonFiniteTensor ?? found.nonFiniteTensor
    }
  }

  /// By rank.
  let statements: [Statement]

  /// Gathers the statements of all ranks.
  ///
  /// Collective.
  ///
  /// - Communication: one record of seven words to each other rank.
  package init(
    _ own: Statement, over records: RecordExchange, step: Int, meanwhile: (() -> Void)? = nil, patience: Patience? = nil
  ) throws {
    try StepAgreement.send(own, over: records)
    try self.init(over: records, step: step, meanwhile: meanwhile, patience: patience)
  }

  /// Sends this rank's statement; the answers are gathered later.
  static func send(_ own: Statement, over records: RecordExchange) throws { try records.begin(own.words) }

  /// Gathers the statements that all ranks have sent.
  init(over records: RecordExchange, step: Int, meanwhile: (() -> Void)? = nil, patience: Patience? = nil) throws {
    statements = try records.finish(activity: "the agreement on step \(step)", meanwhile: meanwhile, patience: patience)
      .map(Statement.init)
  }

  /// The learning rate of the step: that of rank 0, the same bits everywhere.
  var rate: Float { statements[0].rate }

  /// The sum over the statements of all ranks, in rank order.
  func sum<Number: AdditiveArithmetic>(_ path: KeyPath<Statement, Number>) -> Number {
    statements.reduce(.zero) { $0 + $1[keyPath: path] }
  }

  /// The lowest rank whose gradient is not finite, with the first such tensor; nil if all are finite.
  var firstNonFinite: (rank: Int, tensor: Int)? {
    for (rank, statement) in statements.enumerated() {
      if let tensor = statement.nonFiniteTensor { return (rank, tensor) }
    }
    return nil
  }
}

extension StepAgreement.Statement {
  /// A statement of no samples.
  package static var ofNoSamples: Self { Self() }

  /// As a record.
  fileprivate var words: [UInt64] {
    [
      UInt64(correctCount) << 32 | UInt64(sampleCount), UInt64(weight) << 32 | UInt64((nonFiniteTensor ?? -1) + 1),
      UInt64(clearedValues),
      UInt64(rate.bitPattern) << 32 | (isStopRequested ? 1 : 0), lossSum.bitPattern, gradientSquares.bitPattern,
      residualSquares.bitPattern,
    ]
  }

  /// From a record.
  fileprivate init(_ words: [UInt64]) {
    let tensor = Int(words[1] & 0xFFFF_FFFF) - 1
    self.init(
      sampleCount: Int(words[0] & 0xFFFF_FFFF), weight: Int(words[1] >> 32), correctCount: Int(words[0] >> 32),
      nonFiniteTensor: tensor < 0 ? nil : tensor, clearedValues: Int(words[2]),
      isStopRequested: words[3] & 1 != 0, rate: Float(bitPattern: UInt32(words[3] >> 32)),
      lossSum: Double(bitPattern: words[4]), gradientSquares: Double(bitPattern: words[5]),
      residualSquares: Double(bitPattern: words[6]))
  }
}

/// Checks a gradient for non-finite values, tensor by tensor, while each is still in the cache.
struct FiniteWatch {
  /// The first tensor with such a value; nil if all are finite.
  private(set) var firstTensor: Int?
  /// The number of values replaced by zero.
  private(set) var clearedValues = 0

  /// Checks the gradient of one tensor; with `clears`, replaces non-finite values by zero instead of reporting them.
  mutating func look(at tensor: Int, range: Range<Int>, of gradient: FloatBuffer, clears: Bool) {
    guard !gradient.isFinite(in: range) else { return }
    if clears {
      clearedValues += FixedLanes.clearNonFinite(gradient.values(in: range))
    } else if firstTensor == nil {
      firstTensor = tensor
    }
  }
}
