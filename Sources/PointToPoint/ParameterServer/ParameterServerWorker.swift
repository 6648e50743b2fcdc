extension ParameterServer {
  /// One of this rank's workers, and how far it is.
  final class Worker {
    let id: Int
    /// What it does with gradients and answers.
    let rule: any WorkerRule
    /// The blocks to compute, in this order.
    var blocks: [Range<Int>] = []
    /// The block that is not pushed yet, of which gradients are or were computed.
    var current: Range<Int>?
    var isComputed = false
    /// The samples and gradients of that block that count.
    var (sampleCount, gradientCount) = (0, 0)
    /// The owners whose answers are awaited.
    var awaited: Set<Int> = []

    init(_ id: Int, _ rule: any WorkerRule) { (self.id, self.rule) = (id, rule) }

    /// Whether it has pushed its last block and got all answers.
    var isDone: Bool { blocks.isEmpty && current == nil && awaited.isEmpty }
    /// Whether it has computed a block, and nothing of it is under way.
    var canPush: Bool { isComputed && awaited.isEmpty }
  }
}
