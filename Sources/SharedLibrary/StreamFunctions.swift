public import CMorse
internal import Buffers
internal import Codecs
internal import Collectives
internal import Transport

/// What a specification names, by the list that `train --codec` uses.
private func recipe(_ text: UnsafePointer<CChar>?) throws -> AggregationRecipe {
  guard let text else { throw Failure.usage("no codec was given") }
  return try aggregations.make(String(cString: text))
}

/// The codec of a specification.
private func codec(_ text: UnsafePointer<CChar>?) throws -> any Codec {
  let recipe = try recipe(text)
  guard let codec = recipe.codec else {
    let names = codecs.entries.map(\.name).joined(separator: ", ")
    throw Failure.usage("a stream changes from one codec of sums to another (\(names)), and '\(recipe.specification)' is none")
  }
  return codec
}

@c @implementation public func morse_check_codec(_ codec: UnsafePointer<CChar>!) -> Int32 {
  status { try StreamOptions(nil).check(for: recipe(codec)) }
}

@c @implementation public func morse_codec_result(_ codec: UnsafePointer<CChar>!) -> Int32 {
  let result = found {
    switch try recipe(codec).capabilities.result {
    case .gradient: Int(MORSE_RESULT_SUM)
    case .change: Int(MORSE_RESULT_CHANGE)
    }
  }
  return Int32(result ?? -1)
}

@c @implementation public func morse_stream_create(
  _ world: OpaquePointer!, _ codec: UnsafePointer<CChar>!, _ tensors: UnsafePointer<morse_tensor>!, _ count: Int64,
  _ options: UnsafePointer<morse_options>!, _ stream: UnsafeMutablePointer<OpaquePointer?>!
) -> Int32 {
  status {
    let world = try SharedLibrary.world(world)
    let (recipe, layout, options) = try world.together("the start of a stream") {
      guard let stream else { throw Failure.usage("there is no place for the stream: the pointer is null") }
      stream.pointee = nil
      let layout = try TensorLayout(tensors, count: count)
      try MemoryLimit.require(4 * 5 * layout.count, for: "a stream of \(layout.count) values")
      let (recipe, options) = (try SharedLibrary.recipe(codec), try StreamOptions(options))
      try options.check(for: recipe)
      return (recipe, layout, options)
    }
    try world.checkEqual(layout)
    try world.checkEqual("the codec", recipe.specification)
    try world.checkEqual("what is asked of a stream", options.line)
    let engine: any StreamEngine =
      if let codec = recipe.codec {
        try CodedSums(world, codec, layout, options)
      } else {
        try WholeExchanges(world, recipe, layout, options)
      }
    stream!.pointee = Handles.add(Stream(world, options, engine))
  }
}

extension World {
  /// Throws on all ranks if a text differs between them; collective.
  fileprivate func checkEqual(_ what: String, _ text: String) throws {
    var text = text
    try text.withUTF8 { try checkEqual(what, UnsafeRawBufferPointer($0)) }
  }
}

@c @implementation public func morse_stream_set_codec(_ stream: OpaquePointer!, _ codec: UnsafePointer<CChar>!) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    let (sums, codec) = try stream.world.together("a change of the codec") {
      try stream.demandRest()
      return (try stream.sums(), try SharedLibrary.codec(codec))
    }
    try stream.world.checkEqual("the codec", codec.specification)
    try sums.change(to: codec)
  }
}

@c @implementation public func morse_stream_arrange(
  _ stream: OpaquePointer!, _ tensors: UnsafePointer<morse_tensor>!, _ count: Int64
) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    let (sums, layout) = try stream.world.together("a change of the order of the tensors") {
      try stream.demandRest()
      let (sums, layout) = (try stream.sums(), try TensorLayout(tensors, count: count))
      try sums.demandSameTensors(layout)
      return (sums, layout)
    }
    try stream.world.checkEqual(layout)
    try sums.arrange(layout)
  }
}

@c @implementation public func morse_stream_begin(_ stream: OpaquePointer!, _ step: Int64) -> Int32 {
  status { try SharedLibrary.stream(stream).begin(step: step) }
}

@c @implementation public func morse_stream_write(
  _ stream: OpaquePointer!, _ values: UnsafePointer<Float>!, _ offset: Int64, _ count: Int64, _ scale: Float
) -> Int32 {
  status { try SharedLibrary.stream(stream).write(values, offset: offset, count: count, scale: scale) }
}

@c @implementation public func morse_stream_finish(
  _ stream: OpaquePointer!, _ pieces: UnsafePointer<morse_piece>!, _ count: Int64
) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    try stream.finish(try Pieces(pieces, count: count, in: stream))
  }
}

@c @implementation public func morse_stream_discard(_ stream: OpaquePointer!) -> Int32 {
  status { try SharedLibrary.stream(stream).discard() }
}

@c @implementation public func morse_stream_all_reduce(
  _ stream: OpaquePointer!, _ step: Int64, _ pieces: UnsafePointer<morse_piece>!, _ count: Int64, _ scale: Float
) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    let pieces = try Pieces(pieces, count: count, in: stream)
    try stream.begin(step: step)
    for piece in pieces.all {
      try stream.write(piece.values, offset: Int64(piece.range.lowerBound), count: Int64(piece.range.count), scale: scale)
    }
    try stream.finish(pieces)
  }
}

@c @implementation public func morse_stream_counters(
  _ stream: OpaquePointer!, _ counters: UnsafeMutablePointer<morse_counters>!
) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    guard let counters else { throw Failure.usage("there is no place for the counters: the pointer is null") }
    let size = counters.pointee.size
    try demand(size >= 8, "the size of morse_counters is not set")
    var all = stream.counters
    all.size = size
    withUnsafeBytes(of: all) { bytes in
      UnsafeMutableRawPointer(counters).copyMemory(from: bytes.baseAddress!, byteCount: min(Int(size), bytes.count))
    }
  }
}

extension Stream {
  /// What has been counted since the creation, with all codecs.
  fileprivate var counters: morse_counters {
    let total = engine.counts
    var counters = morse_counters()
    counters.network_sent = UInt64(total.traffic.networkBytesSent)
    counters.network_received = UInt64(total.traffic.networkBytesReceived)
    counters.host_sent = UInt64(total.traffic.hostBytesSent)
    counters.host_received = UInt64(total.traffic.hostBytesReceived)
    counters.messages = UInt64(total.traffic.messagesSent)
    counters.plain_groups = UInt64(total.traffic.rawGroups)
    counters.non_finite_groups = UInt64(total.nonFiniteGroups)
    counters.exchanges = UInt64(total.exchangeCount)
    counters.encode = total.timing.encode / .seconds(1)
    counters.sum = total.timing.sum / .seconds(1)
    counters.decode = total.timing.decode / .seconds(1)
    counters.wait = total.timing.wait / .seconds(1)
    return counters
  }
}

@c @implementation public func morse_stream_predicted_bytes(_ stream: OpaquePointer!) -> Int64 {
  Int64(found { try SharedLibrary.stream(stream).engine.predictedTraffic.bytesSent } ?? -1)
}

@c @implementation public func morse_stream_count(_ stream: OpaquePointer!) -> Int64 {
  Int64(found { try SharedLibrary.stream(stream).count } ?? -1)
}

@c @implementation public func morse_stream_residual(
  _ stream: OpaquePointer!, _ kind: Int32, _ values: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>!,
  _ count: UnsafeMutablePointer<Int64>!
) -> Int32 {
  status {
    let stream = try SharedLibrary.stream(stream)
    try stream.demandRest()
    guard let values, let count else { throw Failure.usage("there is no place for the residual: a pointer is null") }
    let buffer: FloatBuffer?
    switch Int(kind) {
    case Int(MORSE_RESIDUAL_OWN): buffer = stream.engine.residual
    case Int(MORSE_RESIDUAL_OWNER): buffer = stream.engine.ownerResidual
    default: throw Failure.usage("a residual is of kind 1 or 2, not \(kind)")
    }
    values.pointee = buffer.flatMap { $0.count > 0 ? $0.baseAddress : nil }
    count.pointee = Int64(buffer?.count ?? 0)
  }
}

@c @implementation public func morse_stream_owned_ranges(
  _ stream: OpaquePointer!, _ bounds: UnsafeMutablePointer<Int64>!, _ capacity: Int64
) -> Int64 {
  let count = found {
    let ranges = try SharedLibrary.stream(stream).engine.ownedRanges
    let flat = ranges.flatMap { [Int64($0.lowerBound), Int64($0.upperBound)] }
    if let bounds { for (place, bound) in flat.prefix(Int(max(0, capacity))).enumerated() { bounds[place] = bound } }
    return ranges.count
  }
  return Int64(count ?? -1)
}

@c @implementation public func morse_stream_release(_ stream: OpaquePointer!) -> Int32 {
  status { try Handles.remove(stream, Stream.self, "stream").end() }
}
