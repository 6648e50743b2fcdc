import CMorse
import SharedLibrary
import Testing
import _TestSupport

/// A status that is not 0, with its sentence.
struct LibraryError: Error, CustomStringConvertible {
  let status: Int32
  let description: String
}

/// Throws the library's sentence if a call failed.
func check(_ status: Int32) throws {
  if status != MORSE_OK { throw LibraryError(status: status, description: String(cString: morse_last_error())) }
}

/// A tensor of a test.
struct TestTensor: Sendable {
  let name: String
  let shape: [Int64]
  var count: Int { shape.reduce(1) { $0 * Int($1) } }
}

/// Calls `body` with tensors as C has them.
func withTensors<Result>(_ tensors: [TestTensor], _ body: (UnsafePointer<morse_tensor>, Int64) throws -> Result) rethrows
  -> Result
{
  var made: [morse_tensor] = []
  for tensor in tensors {
    let shape = UnsafeMutablePointer<Int64>.allocate(capacity: max(tensor.shape.count, 1))
    shape.update(from: tensor.shape, count: tensor.shape.count)
    made.append(morse_tensor(name: copied(tensor.name), shape: shape, dimensions: Int32(tensor.shape.count), kind: 0))
  }
  defer {
    for tensor in made {
      tensor.name.deallocate()
      tensor.shape.deallocate()
    }
  }
  return try made.withUnsafeBufferPointer { try body($0.baseAddress!, Int64(tensors.count)) }
}

private func copied(_ text: String) -> UnsafePointer<CChar> {
  let characters = text.utf8CString
  let memory = UnsafeMutablePointer<CChar>.allocate(capacity: characters.count)
  memory.update(from: Array(characters), count: characters.count)
  return UnsafePointer(memory)
}

/// A world of all ranks, and a stream in it.
final class TestStream {
  let world: OpaquePointer
  let stream: OpaquePointer
  private(set) var tensors: [TestTensor]
  var rank: Int { Int(morse_rank(world)) }
  var rankCount: Int { Int(morse_size(world)) }
  var count: Int { Int(morse_stream_count(stream)) }

  init(
    _ codec: String, _ tensors: [TestTensor], overlap: Int = 3, isRestorable: Bool = true, momentum: Double = 0,
    sendsNaN: Bool = false, recordsEvents: Bool = false
  ) throws {
    self.tensors = tensors
    var options = morse_options()
    options.size = UInt32(MemoryLayout<morse_options>.size)
    options.overlap = Int32(overlap)
    options.is_restorable = isRestorable ? 1 : 0
    options.non_finite = sendsNaN ? 1 : 0
    (options.seed, options.momentum) = (1, momentum)
    options.records_events = recordsEvents ? 1 : 0
    var (world, stream): (OpaquePointer?, OpaquePointer?)
    try check(morse_start(-1, nil, &world))
    try withTensors(tensors) { try check(morse_stream_create(world, codec, $0, $1, &options, &stream)) }
    (self.world, self.stream) = (world!, stream!)
  }

  deinit {
    _ = morse_stream_release(stream)
    _ = morse_world_release(world)
  }

  /// Takes on the order of `tensors`.
  func arrange(_ tensors: [TestTensor]) throws {
    try withTensors(tensors) { try check(morse_stream_arrange(stream, $0, $1)) }
    self.tensors = tensors
  }

  /// The sums of what `values` gives for each tensor, by name.
  func sum(step: Int, _ values: (TestTensor) -> [Float]) throws -> [String: [Float]] {
    var flat = tensors.flatMap(values)
    let count = Int64(flat.count)
    try flat.withUnsafeMutableBufferPointer { flat in
      var piece = morse_piece(values: flat.baseAddress, offset: 0, count: count)
      try check(morse_stream_all_reduce(stream, Int64(step), &piece, 1, 1))
    }
    return byName(flat)
  }

  /// Goes on from what another stream keeps.
  func restore(from other: TestStream) throws {
    #expect(morse_stream_memory_parts(stream) == morse_stream_memory_parts(other.stream))
    for part in 0..<morse_stream_memory_parts(stream) {
      var (own, count): (UnsafeMutablePointer<Float>?, Int64) = (nil, 0)
      var (saved, savedCount): (UnsafeMutablePointer<Float>?, Int64) = (nil, 0)
      try check(morse_stream_memory(stream, part, &own, &count))
      try check(morse_stream_memory(other.stream, part, &saved, &savedCount))
      #expect(count == savedCount)
      if let own, let saved { own.update(from: saved, count: Int(count)) }
    }
    try check(morse_stream_restore(stream, morse_stream_numbers(other.stream)))
  }

  /// What this rank has left behind, by tensor: of its contributions, and of the sums that it owns.
  func leftBehind() throws -> [String: [Float]] {
    var left = [Float](repeating: 0, count: count)
    var (values, length): (UnsafeMutablePointer<Float>?, Int64) = (nil, 0)
    try check(morse_stream_residual(stream, 1, &values, &length))
    for index in 0..<Int(length) { left[index] += values![index] }
    try check(morse_stream_residual(stream, 2, &values, &length))
    var bounds = [Int64](repeating: 0, count: 2 * Int(morse_stream_owned_ranges(stream, nil, 0)))
    _ = morse_stream_owned_ranges(stream, &bounds, Int64(bounds.count))
    var index = 0
    for range in stride(from: 0, to: length > 0 ? bounds.count : 0, by: 2) {
      for place in Int(bounds[range])..<Int(bounds[range + 1]) {
        left[place] += values![index]
        index += 1
      }
    }
    return byName(left)
  }

  private func byName(_ flat: [Float]) -> [String: [Float]] {
    var (result, start): ([String: [Float]], Int) = ([:], 0)
    for tensor in tensors {
      result[tensor.name] = Array(flat[start..<start + tensor.count])
      start += tensor.count
    }
    return result
  }
}
