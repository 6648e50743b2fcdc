import CMorse
import SharedLibrary
import Testing
import _TestSupport

/// Streams through the functions of C: what a change of the codec or the order leaves, and what is said about mistakes.
@Suite(.serialized, .ranks(atMost: 4)) struct StreamTests {
  static let tensors = [
    TestTensor(name: "a", shape: [31, 17]), TestTensor(name: "b", shape: [31]), TestTensor(name: "c", shape: [5, 3, 7]),
    TestTensor(name: "none", shape: [0]), TestTensor(name: "one", shape: []),
  ]
  static let otherOrder = [4, 2, 0, 3, 1].map { tensors[$0] }

  /// The contribution of a rank, which depends on the tensor, not on the order.
  private func values(_ tensor: TestTensor, step: Int, rank: Int) -> [Float] {
    (0..<tensor.count).map { index in
      let bits = (index + 1) &* 2_654_435_761 ^ (step * 31 + rank * 7 + tensor.name.utf8.reduce(0) { $0 + Int($1) }) &* 40_503
      return Float(bits & 0xFFFF) / 32_768 - 1
    }
  }

  @Test(arguments: ["one-bit", "multi-bit:bits=2,range=2", "chunk-top-k:k=1/8,chunk=64", "none"], [1, 3])
  func anotherOrderChangesNoBit(_ codec: String, _ overlap: Int) throws {
    let (plain, moved) = (
      try TestStream(codec, Self.tensors, overlap: overlap), try TestStream(codec, Self.tensors, overlap: overlap)
    )
    for step in 0..<9 {
      if step == 4 { try moved.arrange(Self.otherOrder) }
      if step == 7 { try moved.arrange(Self.tensors) }
      let expected = try plain.sum(step: step) { values($0, step: step, rank: plain.rank) }
      let found = try moved.sum(step: step) { values($0, step: step, rank: moved.rank) }
      for (name, sum) in expected { #expect(found[name]!.map(\.bitPattern) == sum.map(\.bitPattern), "\(name), step \(step)") }
    }
  }

  /// The sum of what arrives and of what is left behind is that of the contributions, whatever codes come one after another.
  @Test func aChangeOfTheCodecLosesNothing() throws {
    let stream = try TestStream("none", Self.tensors)
    let codecs = ["none", "one-bit", "multi-bit:bits=2,range=2", "none", "one-bit:group=50", "none"]
    var total: [String: [Double]] = [:]
    for step in 0..<12 {
      if step % 2 == 0 { try check(morse_stream_set_codec(stream.stream, codecs[step / 2])) }
      let sum = try stream.sum(step: step) { values($0, step: step, rank: stream.rank) }
      for (name, values) in sum { total[name] = zip(total[name] ?? values.map { _ in 0 }, values).map { $0 + Double($1) } }
    }
    // What all ranks have left behind is added by floats.
    let own = try stream.leftBehind()
    #expect(own["a"]!.contains { $0 != 0 } == (stream.rankCount > 1))
    let floats = try TestStream("none", Self.tensors)
    let left = try floats.sum(step: 0) { own[$0.name]! }
    for tensor in Self.tensors {
      for index in 0..<tensor.count {
        let expected = (0..<stream.rankCount).reduce(0.0) { sum, rank in
          (0..<12).reduce(sum) { $0 + Double(values(tensor, step: $1, rank: rank)[index]) }
        }
        #expect(abs(total[tensor.name]![index] + Double(left[tensor.name]![index]) - expected) < 1e-4)
      }
    }
  }

  /// As long as neither changes, what is counted is what was predicted; and all ranks have the same.
  @Test func countersAreThePrediction() throws {
    let stream = try TestStream("one-bit", Self.tensors)
    for step in 0..<5 { _ = try stream.sum(step: step) { values($0, step: step, rank: stream.rank) } }
    var counters = morse_counters()
    counters.size = UInt32(MemoryLayout<morse_counters>.size)
    try check(morse_stream_counters(stream.stream, &counters))
    #expect(Int64(counters.network_sent + counters.host_sent) == 5 * morse_stream_predicted_bytes(stream.stream))
    #expect(counters.exchanges == 5)
    // A program that was compiled with fewer fields gets those.
    var fewer = morse_counters()
    fewer.size = 24
    try check(morse_stream_counters(stream.stream, &fewer))
    #expect(fewer.network_sent == counters.network_sent && fewer.exchanges == 0)
  }

  /// What was done is told once, the oldest first.
  @Test(arguments: ["one-bit", "none", "low-rank:rank=1"]) func eventsAreTold(_ codec: String) throws {
    let isWhole = codec != "none" && codec != "one-bit"
    let stream = try TestStream(codec, Self.tensors, isRestorable: !isWhole, recordsEvents: true)
    let start = morse_clock()
    for step in 0..<2 { _ = try stream.sum(step: step) { values($0, step: step, rank: stream.rank) } }
    let end = morse_clock()
    var room = [morse_event](repeating: morse_event(), count: 1000)
    try #require(morse_stream_events(stream.stream, &room, 1) <= 1)
    let first = room[0]
    let count = Int(morse_stream_events(stream.stream, &room, 1000))
    #expect(count > 0 || stream.rankCount == 1)
    for event in [first] + room.prefix(count) where event.kind != 0 {
      #expect(event.start >= start && event.start <= event.end && event.end <= end)
      #expect(event.offset >= 0 && event.count >= 0 && Int(event.offset + event.count) <= stream.count)
      #expect((1...6).contains(event.kind))
    }
    let kinds = Set(([first] + room.prefix(count)).map(\.kind))
    // Floats are read where they are.
    let wanted = codec == "none" ? [MORSE_EVENT_DECODE] : [MORSE_EVENT_ENCODE, MORSE_EVENT_DECODE]
    #expect(stream.rankCount == 1 || kinds.isSuperset(of: wanted.map { Int32($0) }))
    #expect(morse_stream_events(stream.stream, &room, 1000) == 0)
    let silent = try TestStream(codec, Self.tensors, isRestorable: !isWhole)
    #expect(morse_stream_events(silent.stream, &room, 1000) == -1)
    #expect(String(cString: morse_last_error()).contains("records_events"))
  }

  @Test func mistakesEndNothing() throws {
    let stream = try TestStream("one-bit", Self.tensors)
    let handle = stream.stream
    var values = [Float](repeating: 1, count: stream.count)
    func refused(_ status: Int32, _ part: String) {
      #expect(status == Int32(MORSE_ERROR_USAGE) && String(cString: morse_last_error()).contains(part))
    }
    refused(morse_stream_write(handle, &values, 0, 1, 1), "begin one first")
    try check(morse_stream_begin(handle, 0))
    refused(morse_stream_begin(handle, 1), "finish it first")
    refused(morse_stream_write(handle, &values, Int64.max, 1, 1), "not in an array")
    refused(morse_stream_write(handle, &values, 1, Int64.max, 1), "not in an array")
    refused(morse_stream_write(handle, nil, 0, 1, 1), "null")
    try check(morse_stream_write(handle, &values, 10, 5, 1))
    refused(morse_stream_write(handle, &values, 14, 2, 1), "written before")
    refused(morse_stream_write(handle, &values, 8, 9, 1), "written before")
    try check(morse_stream_write(handle, &values, 15, 2, 1))
    try check(morse_stream_write(handle, &values, 8, 2, 1))
    refused(morse_stream_write(handle, &values, 16, 1, 1), "written before")
    try check(morse_stream_discard(handle))
    refused(morse_stream_finish(handle, nil, 0), "begin one first")
    refused(morse_stream_set_codec(handle, "one-bitt"), "did you mean")
    refused(morse_stream_set_codec(handle, nil), "no codec")
    refused(morse_stream_begin(OpaquePointer(bitPattern: 8), 0), "no stream")
    refused(morse_stream_begin(stream.world, 0), "no stream")
    withTensors([Self.tensors[0], Self.tensors[0]]) { refused(morse_stream_arrange(handle, $0, $1), "two tensors are named") }
    withTensors([TestTensor(name: "x", shape: [1 << 40, 1 << 40])]) {
      refused(morse_stream_arrange(handle, $0, $1), "any memory")
    }
    withTensors([TestTensor(name: "x", shape: [-1])]) { refused(morse_stream_arrange(handle, $0, $1), "negative") }
    withTensors(Self.tensors.dropLast()) { refused(morse_stream_arrange(handle, $0, $1), "is missing") }
    // Nothing of this has changed the stream.
    #expect(
      try stream.sum(step: 0) { $0.shape.isEmpty ? [2] : Array(repeating: 0, count: $0.count) }["one"]! == [
        2 * Float(stream.rankCount)
      ])
  }

  /// Ranks that ask for different things all fail, and are named.
  @Test(.ranks(atLeast: 2)) func differencesAreNamed() throws {
    let stream = try TestStream("one-bit", Self.tensors)
    var other: OpaquePointer?
    let own = stream.rank == 1 ? Self.otherOrder : Self.tensors
    let status = withTensors(own) { morse_stream_create(stream.world, "one-bit", $0, $1, nil, &other) }
    #expect(status == Int32(MORSE_ERROR_USAGE) && other == nil)
    #expect(String(cString: morse_last_error()).contains("the tensors differ between ranks"))
    #expect(morse_stream_set_codec(stream.stream, stream.rank == 0 ? "none" : "one-bit") == Int32(MORSE_ERROR_USAGE))
    // A mistake of one rank is told to all.
    #expect(morse_stream_set_codec(stream.stream, stream.rank == 1 ? "nothing" : "one-bit") == Int32(MORSE_ERROR_USAGE))
    #expect(String(cString: morse_last_error()).contains(stream.rank == 1 ? "unknown codec" : "rank 1"))
  }
}
