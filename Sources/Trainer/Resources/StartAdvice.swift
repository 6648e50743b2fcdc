internal import Buffers
internal import Checkpoints
internal import Files
package import Kernels
internal import Networks
internal import Transport

/// What users should know about a run's processors before it begins.
package struct StartAdvice {
  private let agreement: Agreement
  private let threads: Int

  init(threads: Int, over agreement: Agreement) { (self.threads, self.agreement) = (threads, agreement) }

  /// Sentences without a full stop, the same on all ranks.
  ///
  /// Collective.
  func sentences() throws -> [String] {
    let own = [HostResources.usableCoreCount, HostResources.coreCount, productAdvice() == nil ? 0 : 1]
    let all = try agreement.gather(own.map { UInt64($0) }).map { $0.map { Int($0) } }
    var sentences: [String] = []
    if let rank = all.firstIndex(where: { $0[0] < threads }) {
      sentences.append(StartAdvice.tooManyThreads(threads, rank: rank, cores: all[rank][0], of: all[rank][1]))
    }
    if let rank = all.firstIndex(where: { $0[2] == 1 }) {
      let advice = try agreement.share(productAdvice(), from: rank)
      sentences.append(rank == 0 ? advice : "rank \(rank): \(advice)")
    }
    if let sentence = try differentArithmetic() { sentences.append(sentence) }
    return sentences
  }

  /// That ranks compute products by different code: what every rank computes for itself then differs in its last bits.
  private func differentArithmetic() throws -> String? {
    let all = try agreement.gather([XXHash64.hash(oneDNNDescription)]).map { $0[0] }
    guard let rank = all.firstIndex(where: { $0 != all[0] }) else { return nil }
    let (other, first) = (try agreement.share(oneDNNDescription, from: rank), try agreement.share(oneDNNDescription))
    return "rank \(rank) computes with \(other), rank 0 with \(first); \(StartAdvice.consequence)"
  }

  /// That the run was saved by one that computed products by other code; nil if it was not.
  static func otherArithmetic(than saved: SavedRun) -> String? { otherArithmetic(than: saved.counters["arithmetic"]) }

  package static func otherArithmetic(than saved: String?, now: String? = nil) -> String? {
    let now = now ?? oneDNNDescription
    guard let saved, saved != now else { return nil }
    return "the checkpoint comes from a run that computed with \(saved), and this one computes with \(now); \(consequence)"
  }

  private static let consequence = "the last bits of what each computes may differ"

  /// That the samples of a rank are others in every step, where an aggregation compares the gradients of steps.
  static func changingSamples(_ codec: String, of sampleCount: Int, ranks: Int) -> String {
    "--codec \(codec) compares the gradients of a rank from step to step, and here they differ by their samples: next to nothing will be "
      + "saved; rule=same-minibatch compares those of the same samples, and --minibatch \(sampleCount) --clients \(ranks) gives each rank "
      + "the same in every step"
  }

  /// The advice that there are more threads than cores.
  package static func tooManyThreads(_ threads: Int, rank: Int, cores: Int, of all: Int) -> String {
    let remedy =
      cores < all
      ? "start ranks with mpirun --map-by node:PE=\(min(threads, all)), or with --bind-to none, or ask for at most \(cores)"
      : "ask for at most \(cores)"
    return "--threads \(threads) is more than the \(counted(cores, "core")) that rank \(rank) may use; \(remedy)"
  }
}

/// Why products and convolutions are slower than necessary, and the remedy; nil if they are not.
public func productAdvice() -> String? {
  productAdvice(instructionSet: productInstructionSet, path: KernelPath.available.last ?? .portable)
}

/// The advice if oneDNN uses `instructionSet` and the processor has the instructions of `path`.
package func productAdvice(instructionSet: String, path: KernelPath) -> String? {
  if instructionSet == "any" {
    return
      "oneDNN has no fast products and convolutions for this processor, and computes them with portable code, many times slower"
  }
  guard ["sse41", "avx"].contains(instructionSet), path != .portable else { return nil }
  return "oneDNN is limited to \(instructionSet), several times slower than this processor can; unset DNNL_MAX_CPU_ISA"
}
