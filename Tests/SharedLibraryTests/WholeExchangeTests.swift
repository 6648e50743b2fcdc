import CMorse
import SharedLibrary
import Testing
import _TestSupport

/// Streams of codecs that bring a change of a model.
@Suite(.serialized, .ranks(atMost: 4)) struct WholeExchangeTests {
  static let tensors = StreamTests.tensors

  /// The contribution of a rank: multiples of 2⁻¹⁵, whose sums and halves are exact.
  private func values(_ tensor: TestTensor, step: Int, rank: Int) -> [Float] {
    (0..<tensor.count).map { index in
      let bits = (index + 3) &* 2_654_435_761 ^ (step * 31 + rank * 7 + tensor.name.utf8.reduce(0) { $0 + Int($1) }) &* 40_503
      return Float(bits & 0xFFFF) / 32_768 - 1
    }
  }

  /// If all values are sent, the change is the momentum of plain descent.
  @Test func allValuesArePlainDescent() throws {
    let stream = try TestStream("true-top-k:k=1/1", Self.tensors, isRestorable: false, momentum: 0.5)
    #expect(morse_stream_predicted_bytes(stream.stream) > 0 || stream.rankCount == 1)
    var velocity = Dictionary(uniqueKeysWithValues: Self.tensors.map { ($0.name, [Float](repeating: 0, count: $0.count)) })
    for step in 0..<4 {
      let change = try stream.sum(step: step) { values($0, step: step, rank: stream.rank) }
      for tensor in Self.tensors {
        for rank in 0..<stream.rankCount {
          let own = values(tensor, step: step, rank: rank)
          for i in 0..<tensor.count { velocity[tensor.name]![i] = (rank == 0 ? 0.5 : 1) * velocity[tensor.name]![i] + own[i] }
        }
        #expect(change[tensor.name] == velocity[tensor.name], "\(tensor.name), step \(step)")
      }
    }
  }

  static let codecs = [
    "fetch-sgd:k=1/8,columns=1/4", "fetch-sgd:k=1/8,columns=1/4,recovery=subtract,window=3", "sketched-sgd:k=1/8,columns=1/4",
    "top-k:k=1/8", "true-top-k:k=1/8",
  ]

  /// All ranks get the same few values; a stream that goes on from a memory brings what the one that wrote it does, and a new one does not.
  @Test(arguments: codecs) func goesOnFromItsMemory(_ codec: String) throws {
    func made() throws -> TestStream { try TestStream(codec, Self.tensors, isRestorable: false, momentum: 0.9) }
    let (stream, resumed, new) = (try made(), try made(), try made())
    func change(_ stream: TestStream, _ step: Int) throws -> [Float] {
      let found = try stream.sum(step: step) { values($0, step: step, rank: stream.rank) }
      return Self.tensors.flatMap { found[$0.name]! }
    }
    for step in 0..<4 { _ = try change(stream, step) }
    try resumed.restore(from: stream)
    for step in 4..<7 {
      let right = try change(stream, step)
      #expect(try change(resumed, step) == right)
      #expect(try change(new, step) != right)
      let sent = right.count { $0 != 0 }
      #expect(sent > 0 && sent <= stream.count / 8 * stream.rankCount + 64)
      try right.withUnsafeBytes {
        try check(morse_check_equal(stream.world, "the change", $0.baseAddress, Int64($0.count)))
      }
    }
  }

  /// A value that is not finite on one rank leaves out the exchange on all, and no trace.
  @Test(arguments: [true, false]) func whatIsNotFiniteIsLeftOut(_ sendsNaN: Bool) throws {
    let (stream, other) = (
      try TestStream("fetch-sgd:k=1/8,columns=1/4", Self.tensors, isRestorable: false, momentum: 0.9, sendsNaN: sendsNaN),
      try TestStream("fetch-sgd:k=1/8,columns=1/4", Self.tensors, isRestorable: false, momentum: 0.9)
    )
    for step in 0..<3 {
      if step == 1 {
        let found = try stream.sum(step: step) { tensor in
          var own = values(tensor, step: step, rank: stream.rank)
          if stream.rank == stream.rankCount - 1 && tensor.name == "b" { own[3] = .infinity }
          return own
        }
        #expect(found.values.allSatisfy { $0.allSatisfy { sendsNaN ? $0.isNaN : $0 == 0 } })
      }
      let (found, right) = (
        try stream.sum(step: step) { values($0, step: step, rank: stream.rank) },
        try other.sum(step: step) { values($0, step: step, rank: other.rank) }
      )
      #expect(found == right)
    }
    var counters = morse_counters()
    counters.size = UInt32(MemoryLayout<morse_counters>.size)
    try check(morse_stream_counters(stream.stream, &counters))
    #expect(counters.exchanges == 3 && counters.non_finite_groups == 1)
  }

  /// What such a codec cannot do is said.
  @Test func whatCannotBeIsRefused() throws {
    func refused(_ codec: String, _ part: String, overlap: Int = 3, isRestorable: Bool = false, momentum: Double = 0) {
      let sentence: String
      do {
        _ = try TestStream(codec, Self.tensors, overlap: overlap, isRestorable: isRestorable, momentum: momentum)
        sentence = "nothing"
      } catch { sentence = "\(error)" }
      #expect(sentence.contains(part), "\(codec): \(sentence)")
    }
    refused("lazy", "follows the model")
    refused("majority-vote", "delivers votes on signs")
    refused("top-k", "begins with the whole array", overlap: 1)
    refused("top-k", "cannot be discarded", isRestorable: true)
    refused("one-bit", "momentum is a part of codecs", momentum: 0.5)
    refused("top-k", "momentum is a number", momentum: 1)
    #expect(morse_codec_result("top-k") == Int32(MORSE_RESULT_CHANGE))
    #expect(morse_codec_result("one-bit") == Int32(MORSE_RESULT_SUM) && morse_codec_result("what") == -1)
    let stream = try TestStream("top-k", Self.tensors, isRestorable: false)
    func failed(_ status: Int32, _ part: String) {
      #expect(status == Int32(MORSE_ERROR_USAGE) && String(cString: morse_last_error()).contains(part))
    }
    failed(morse_stream_set_codec(stream.stream, "one-bit"), "no codec of sums")
    failed(withTensors(StreamTests.otherOrder) { morse_stream_arrange(stream.stream, $0, $1) }, "no codec of sums")
    failed(morse_stream_restore(stream.stream, "what"), "no line of the numbers")
    var (values, count): (UnsafeMutablePointer<Float>?, Int64) = (nil, 0)
    failed(morse_stream_memory(stream.stream, 99, &values, &count), "there is no part 99")
    try check(morse_stream_residual(stream.stream, 1, &values, &count))
    #expect(count == 0)
    let sums = try TestStream("one-bit", Self.tensors)
    #expect(morse_stream_memory_parts(sums.stream) == 0)
    failed(morse_stream_restore(sums.stream, ""), "has residuals")
  }
}
