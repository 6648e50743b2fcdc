import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Synchronization
import Testing
import Transport
import _TestSupport

/// All ranks of this job; one without `mpirun`.
var allRanks: Communicator { World.communicator }

/// Both ways of reaching other ranks; one rank reaches nobody.
let transports: [Transport] = [.auto, .messages]

/// The codecs under test.
let testedCodecs: [ReferenceCodec] = [.none, .oneBit(elements: nil), .oneBit(elements: 100), .oneBit(elements: 4)]

/// Everything one exchange needs.
struct Setting {
  let world = allRanks
  let hosts: HostMap
  let gradient: SharedGradient
  let layout: TensorLayout
  let exchange: CodedAllReduce

  init(
    _ codec: ReferenceCodec, _ layout: TensorLayout, _ transport: Transport, options: CodedAllReduce.Options = .init(),
    patience: Patience = Patience()
  ) throws {
    hosts = try HostMap(world, transport: transport, patience: patience)
    gradient = try SharedGradient(count: layout.count, hosts: hosts)
    self.layout = layout
    exchange = try CodedAllReduce(
      try makeCodec(codec), layout: layout, gradient: gradient, options: options)
  }

  /// Whether `peer` reads this rank's memory in place.
  func isOnSameHost(_ peer: Int) -> Bool { hosts.hostRanks[peer] != nil }

  /// Whether all ranks share one host's memory.
  var isShared: Bool { world.count == 1 || (0..<world.count).allSatisfy { $0 == world.rank || isOnSameHost($0) } }

  /// One exchange of this rank's gradient; what it brings.
  func run(_ values: [Float], step: Int = 0) throws -> [Float] {
    gradient.values.set(values)
    let output = FloatBuffer(count: layout.count)
    output.fill(.nan)
    try exchange.run(step: step, samples: 8, into: .buffer(output))
    return output.array
  }
}

/// The codec under test, from the list of codecs.
func makeCodec(_ codec: ReferenceCodec) throws -> any Codec { try codecs.make(codec.specification) }

/// The ways of a flat exchange between ranks of one host, or of as many hosts.
func flatRoutes(_ rankCount: Int, isShared: Bool) -> ExchangeRoutes {
  ExchangeRoutes(leaders: isShared ? Array(repeating: 0, count: rankCount) : Array(0..<rankCount), isHierarchical: false)
}

/// Whether all ranks hold the same values, bit for bit; collective.
func isSameOnAllRanks(_ values: [Float]) throws -> Bool {
  var hash: UInt64 = 0xCBF2_9CE4_8422_2325
  for value in values { hash = (hash ^ UInt64(value.bitPattern)) &* 0x100_0000_01B3 }
  return Set(try allRanks.allGather([hash])).count == 1
}

/// The values of all ranks, by rank; collective.
func gatherAll(_ values: [Float]) throws -> [[Float]] {
  let world = allRanks
  if values.isEmpty { return Array(repeating: [], count: world.count) }
  let all = try world.allGather(values)
  return (0..<world.count).map { Array(all[$0 * values.count..<($0 + 1) * values.count]) }
}

/// Options that sleep for up to two milliseconds before some units of work, at random but seeded.
func randomDelays(seed: Int) -> CodedAllReduce.Options {
  let random = Mutex(SplitMix(seed, allRanks.rank))
  var options = CodedAllReduce.Options()
  options.pause = {
    let pause = random.withLock { $0.next(below: 8) == 0 ? $0.next(below: 2001) : 0 }
    if pause > 0 { usleep(UInt32(pause)) }
  }
  return options
}

/// Sleeps for up to `microseconds`, at random but seeded.
func sleepAtRandom(_ random: inout SplitMix, upTo microseconds: Int) {
  usleep(UInt32(random.next(below: microseconds + 1)))
}
