internal import ArgumentParser
internal import Buffers
internal import Kernels

/// The memory bandwidth of this machine, measured with the loops that everything else is compared with.
struct MemoryBandwidth {
  /// Values that are read and written.
  let values: FloatBuffer
  /// Values that are read; the same number.
  let other: FloatBuffer

  /// The bytes per value of a = a + b: two values are read, one is written in place.
  static let updateBytes = 12.0
  /// The bytes per value of a = b.
  static let copyBytes = 8.0

  /// The seconds of one a = a + b: the access pattern of the encoder.
  func update() -> Double {
    seconds { add(other.baseAddress, count: values.count, to: values.baseAddress) }
  }

  /// The seconds of one a = b with stores that bypass the cache.
  func copy() -> Double {
    seconds {
      Kernels.copy(other.baseAddress, count: values.count, to: values.baseAddress, streaming: true)
      finishStreaming()
    }
  }
}

extension FloatBuffer {
  /// Fills the buffer with bell-shaped noise, exact in fp32; a tile of it is repeated.
  func fillWithNoise(stream: Int = 0) {
    let random = Philox(seed: 1, purpose: .tests, stream: stream)
    let tile = min(count, 1_000_003)
    for i in 0..<tile {
      let word = random.word(i)
      let sum = Int32(word & 0xFF) + Int32(word >> 8 & 0xFF) + Int32(word >> 16 & 0xFF) + Int32(word >> 24)
      baseAddress[i] = Float(sum - 510) * 0x1p-12
    }
    for start in stride(from: tile, to: count, by: max(tile, 1)) {
      (baseAddress + start).update(from: baseAddress, count: min(tile, count - start))
    }
  }
}

/// The mean seconds per call of `body`, which is called often enough for the clock if `count` is small.
func secondsPerCall(_ count: Int, _ body: () -> Double) -> Double {
  let repetitions = max(1, (1 << 22) / max(count, 1))
  return (0..<repetitions).reduce(0) { sum, _ in sum + body() } / Double(repetitions)
}

struct MemoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory", abstract: "What this machine can do: copy and update bandwidth.",
    discussion: """
      One thread, median. copy is a = b with stores that bypass the cache, 8 bytes a value; update is a = a + b, 12 bytes. \
      GB = 10⁹ bytes.
      """)

  @Option(help: "Values in each of the two buffers (default: 65536, 1048576 and 67108864).")
  var count: [Int] = []
  @Option(help: "Measurements of each kind, interleaved.")
  var iterations = 9
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard iterations > 0, count.allSatisfy({ $0 > 0 }) else {
      throw ValidationError("--count and --iterations take positive numbers")
    }
  }

  func run() throws {
    let table = Table(
      "memory",
      [
        Column("count", "values", .integer), Column("copy", "copy (GB/s)", .decimal(1)),
        Column("update", "update (GB/s)", .decimal(1)),
      ], options: output)
    for count in count.isEmpty ? [1 << 16, 1 << 20, 1 << 26] : count {
      try requireMemory(values: count, buffers: 2)
      let limit = MemoryBandwidth(values: FloatBuffer(count: count), other: FloatBuffer(count: count))
      limit.other.fillWithNoise()
      var (copies, updates): ([Double], [Double]) = ([], [])
      for _ in 0..<iterations {
        copies.append(MemoryBandwidth.copyBytes * Double(count) / secondsPerCall(count, limit.copy))
        updates.append(MemoryBandwidth.updateBytes * Double(count) / secondsPerCall(count, limit.update))
      }
      table.row([.integer(count), .number(copies.percentile() / 1e9), .number(updates.percentile() / 1e9)])
    }
  }
}
