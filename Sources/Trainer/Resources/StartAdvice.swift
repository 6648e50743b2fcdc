internal import Checkpoints
internal import Files
package import Kernels
internal import Networks

/// What users should know about a run's processors before it begins.
package struct StartAdvice {
  private let agreement: Agreement
  private let threads: Int

  init(threads: Int, over agreement: Agreement) { (self.threads, self.agreement) = (threads, agreement) }

  /// Sentences without a full stop, the same on all ranks.
  ///
  /// Collective.
  func sentences() throws -> [String] {
    let own = [HostResources.usableCoreCount, HostResources.coreCount, blasAdvice() == nil ? 0 : 1]
    let all = try agreement.gather(own.map { UInt64($0) }).map { $0.map { Int($0) } }
    var sentences: [String] = []
    if let rank = all.firstIndex(where: { $0[0] < threads }) {
      sentences.append(StartAdvice.tooManyThreads(threads, rank: rank, cores: all[rank][0], of: all[rank][1]))
    }
    if let rank = all.firstIndex(where: { $0[2] == 1 }) {
      let advice = try agreement.share(blasAdvice(), from: rank)
      sentences.append(rank == 0 ? advice : "rank \(rank): \(advice)")
    }
    return sentences
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

/// Why matrix products are slower than necessary, and the remedy; nil if they are not.
///
/// OpenBLAS uses the kernels of the oldest processors on processors newer than itself.
public func blasAdvice() -> String? {
  blasAdvice(kernels: blasKernelName, path: KernelPath.available.last ?? .portable)
}

/// The advice if OpenBLAS runs `kernels` and the processor has the instructions of `path`.
package func blasAdvice(kernels: String, path: KernelPath) -> String? {
  guard ["Prescott", "Core2", "Generic"].contains(kernels), path != .portable else { return nil }
  let better = path == .avx512 ? "SkylakeX" : "Haswell"
  return
    "OpenBLAS does not know this processor and runs kernels for \(kernels), several times slower; "
    + "source scripts/environment.sh, or set OPENBLAS_CORETYPE=\(better)"
}
