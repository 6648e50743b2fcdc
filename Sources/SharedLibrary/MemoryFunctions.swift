internal import CMorse
internal import Buffers
internal import Transport

@c @implementation public func morse_stream_memory_parts(_ stream: OpaquePointer!) -> Int64 {
  Int64(found { try SharedLibrary.stream(stream).engine.memory.count } ?? -1)
}

@c @implementation public func morse_stream_memory(
  _ stream: OpaquePointer!, _ part: Int64, _ values: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>!,
  _ count: UnsafeMutablePointer<Int64>!
) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    try stream.demandRest()
    guard let values, let count else { throw Failure.usage("there is no place for the memory: a pointer is null") }
    let memory = stream.engine.memory
    try demand(
      part >= 0 && part < memory.count, "the memory of this stream has \(memory.count) parts: there is no part \(part)")
    let found = memory[Int(part)]
    values.pointee = found.isEmpty ? nil : found.baseAddress
    count.pointee = Int64(found.count)
  }
}

@c @implementation public func morse_stream_numbers(_ stream: OpaquePointer!) -> UnsafePointer<CChar>! {
  let text: UnsafePointer<CChar>?? = found {
    let stream = try SharedLibrary.stream(stream)
    try stream.demandRest()
    return stream.keep(numbers: stream.engine.numbers)
  }
  return text ?? nil
}

@c @implementation public func morse_stream_restore(_ stream: OpaquePointer!, _ numbers: UnsafePointer<CChar>!) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    let counters = try stream.world.together("the memory of a stream") {
      try stream.demandRest()
      guard let numbers else { throw Failure.usage("no numbers were given: the pointer is null") }
      return try stream.engine.counters(of: String(cString: numbers))
    }
    try stream.engine.restore(counters)
  }
}
