internal import Buffers
internal import CKernels

/// The instructions that the loops over values use.
///
/// All paths give the same bits.
public enum KernelPath: String, CaseIterable, Sendable {
  /// Swift's vectors, compiled for the baseline of the architecture.
  case portable
  /// Intel and AMD since about 2013.
  case avx2
  /// AVX-512 with the F, BW, DQ and VL parts.
  case avx512

  /// The path in use: the best one, or the lower one that the environment variable `MORSE_KERNELS` names.
  public static var current: KernelPath { allCases[Int(ck_path())] }

  /// Those that this processor has, the best one last.
  public static var available: ArraySlice<KernelPath> { allCases[...Int(ck_best_path())] }

  /// Uses `path` from now on, in the whole process: tests compare the paths.
  package static func select(_ path: KernelPath) {
    let number = allCases.firstIndex(of: path)!
    require(ck_select_path(Int32(number)), "this processor has no \(path.rawValue)")
  }
}
