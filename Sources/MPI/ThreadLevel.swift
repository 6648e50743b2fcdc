internal import CMPI

/// Which threads may call MPI.
public enum ThreadLevel: Int, Comparable, Sendable, CaseIterable {
  /// The process has one thread.
  case single
  /// Only the thread that started MPI calls it.
  case funneled
  /// Any thread may call it, one at a time.
  case serialized
  /// Any number of threads may call it at the same time.
  case multiple

  var mpiValue: CInt {
    switch self {
    case .single: CInt(MPI_THREAD_SINGLE)
    case .funneled: CInt(MPI_THREAD_FUNNELED)
    case .serialized: CInt(MPI_THREAD_SERIALIZED)
    case .multiple: CInt(MPI_THREAD_MULTIPLE)
    }
  }

  init(mpiValue: CInt) {
    self = Self.allCases.last { $0.mpiValue <= mpiValue } ?? .single
  }

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}
