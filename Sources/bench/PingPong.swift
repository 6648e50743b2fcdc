internal import Buffers
internal import CPingPong
internal import Collectives
internal import MPI
import Transport

/// The cost of a message of one size from Swift, and in the same loop in C.
struct PingPongRow {
  /// The length of the message.
  let byteCount: Int
  /// One way from Swift: the median over the rounds.
  let swiftSeconds: Double
  /// One way from C: the median over the rounds.
  let cSeconds: Double
  /// Swift's time over C's in the same round: the median over the rounds.
  let ratio: Double
  /// Bytes per second from Swift.
  let bandwidth: Double
}

/// Sends messages back and forth between ranks 0 and 1 of `world`, which has all ranks; every rank calls it and gets the rows.
///
/// A round is one measurement from Swift and one from C, in alternating order, so that disturbances affect both.
///
/// - Parameters:
///   - sizes: The sizes of the messages in bytes.
///   - iterations: The round trips in one measurement of small messages; large ones get fewer.
///   - world: All ranks, at least two.
/// - Returns: One row for each size, the same on all ranks.
func pingPong(sizes: [Int], iterations: Int, world: Communicator) throws -> [PingPongRow] {
  require(world.count >= 2, "ping-pong needs two ranks, there is \(world.count)")
  // Many short rounds: on a busy machine the median then comes from its quiet moments.
  let rounds = 31
  let call = RollCall(world, patience: benchPatience)
  return try sizes.map { byteCount in
    let message = ByteBuffer(count: max(byteCount, 1))
    let bytes = UnsafeMutableRawBufferPointer(rebasing: message.bytes[0..<byteCount])
    let repetitions = max(min(iterations, 16_000_000 / max(byteCount, 1)), 5)
    var swiftTimes: [Double] = []
    var cTimes: [Double] = []
    for round in 0...rounds {
      var times = [0.0, 0.0]
      for half in 0..<2 {
        let isSwift = (round + half) % 2 == 0
        try call.meet("a measurement")
        try world.barrier()
        if isSwift {
          times[0] = try swiftPingPong(bytes, iterations: repetitions, world: world)
        } else {
          times[1] = baselinePingPong(message.baseAddress, byteCount, Int32(repetitions))
          guard times[1] >= 0 else { throw BaselineError(code: Int32(-times[1])) }
        }
      }
      // The first round warms caches and connections.
      guard round > 0 else { continue }
      try call.meet("a result")
      swiftTimes.append(try world.broadcast(times[0]))
      cTimes.append(try world.broadcast(times[1]))
    }
    let swiftSeconds = swiftTimes.percentile()
    return PingPongRow(
      byteCount: byteCount, swiftSeconds: swiftSeconds, cSeconds: cTimes.percentile(),
      ratio: zip(swiftTimes, cTimes).map { $0 / $1 }.percentile(), bandwidth: Double(byteCount) / swiftSeconds)
  }
}

/// The loop of `baselinePingPong`, line by line.
private func swiftPingPong(_ bytes: UnsafeMutableRawBufferPointer, iterations: Int, world: Communicator) throws -> Double {
  guard world.rank <= 1 else { return 0 }
  let peer = 1 - world.rank
  let start = wallTime
  for _ in 0..<iterations {
    if world.rank == 0 {
      try world.send(UnsafeRawBufferPointer(bytes), to: peer, tag: 1)
      try world.receive(into: bytes, from: peer, tag: 1)
    } else {
      try world.receive(into: bytes, from: peer, tag: 1)
      try world.send(UnsafeRawBufferPointer(bytes), to: peer, tag: 1)
    }
  }
  return (wallTime - start) / Double(2 * iterations)
}

/// An MPI error in the C loop.
private struct BaselineError: Error, CustomStringConvertible {
  let code: Int32
  var description: String { "the ping-pong in C failed with MPI error code \(code)" }
}
