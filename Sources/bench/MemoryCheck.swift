internal import Buffers
internal import Trainer
import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

/// Throws if this host lacks the memory for `count` values in each of `buffers` buffers on each of its ranks.
///
/// A measurement needs more than that; if memory runs out later, that is reported on allocation (``end(outOfMemory:)``).
func requireMemory(values count: Int, buffers: Int) throws(OutOfMemory) {
  let owner = "a measurement with \(buffers) buffers of \(grouped(count)) values"
  let (byteCount, isTooLarge) = count.multipliedReportingOverflow(by: 4 * buffers)
  guard !isTooLarge else { throw OutOfMemory(owner, byteCount: nil) }
  try MemoryLimit.require(byteCount, for: owner)
  let ranks = getenv("OMPI_COMM_WORLD_LOCAL_SIZE").flatMap { Int(String(cString: $0)) } ?? 1
  guard let available = HostResources.availableMemory, byteCount > available / max(1, ranks) else { return }
  throw OutOfMemory(
    "not enough memory: \(owner) needs \(MemoryLimit.text(byteCount)) on each rank, and the host has \(MemoryLimit.text(available)) left"
  )
}

/// Ends the program, and with it the other ranks, when this rank lacks memory for its measurement.
func end(outOfMemory error: OutOfMemory) -> Never {
  // The first rank's message is enough if all ranks have the same limit.
  if !speaksForJob { usleep(300_000) }
  let line = Array("bench: \(error)\n".utf8)
  _ = write(2, line, line.count)
  _exit(error.exitStatus)
}
