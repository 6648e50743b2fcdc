public import CMorse
internal import Buffers
internal import MPI
internal import Synchronization
internal import Transport

/// Whether ``morse_finish()`` has been called.
private let hasFinished = Atomic<Bool>(false)

/// The object of a handle, unless the library's use has ended.
func world(_ handle: OpaquePointer?) throws -> World {
  try demand(!hasFinished.load(ordering: .acquiring), "morse_finish has been called: no world can be used any more")
  return try Handles.object(handle, World.self, "world")
}

/// The object of a handle, unless the library's use has ended.
func stream(_ handle: OpaquePointer?) throws -> Stream {
  try demand(!hasFinished.load(ordering: .acquiring), "morse_finish has been called: no stream can be used any more")
  return try Handles.object(handle, Stream.self, "stream")
}

@c @implementation public func morse_abi_version() -> UInt32 { UInt32(MORSE_ABI_VERSION) }

@c @implementation public func morse_last_error() -> UnsafePointer<CChar>! {
  LastError.sentence ?? noError.withUnsafePointerToElements
}

/// The sentence before any error.
private let noError = EmptySentence()

/// An empty string that stays where it is.
private final class EmptySentence: @unchecked Sendable {
  private let memory = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
  init() { memory.initialize(to: 0) }
  var withUnsafePointerToElements: UnsafePointer<CChar> { UnsafePointer(memory) }
}

@c @implementation public func morse_start(
  _ fortran_communicator: Int32, _ options: UnsafePointer<morse_world_options>!, _ world: UnsafeMutablePointer<OpaquePointer?>!
) -> Int32 {
  status {
    guard let world else { throw Failure.usage("there is no place for the world: the pointer is null") }
    world.pointee = nil
    try demand(!hasFinished.load(ordering: .acquiring), "morse_finish has been called: MPI cannot be started again")
    var given = morse_world_options()
    if let options { given = try .read(options, size: options.pointee.size, "morse_world_options") }
    try demand(given.timeout >= 0 && given.timeout < 1e9, "the timeout is a number of seconds, not \(given.timeout)")
    try demand(abs(given.patience) < 1e9, "the patience is a number of seconds, not \(given.patience)")
    let made = try World(
      fortranHandle: fortran_communicator == -1 ? nil : fortran_communicator, timeout: given.timeout == 0 ? 60 : given.timeout,
      patience: given.patience == 0 ? 10 : given.patience)
    world.pointee = Handles.add(made)
  }
}

@c @implementation public func morse_finish() -> Int32 {
  status {
    guard !hasFinished.exchange(true, ordering: .acquiringAndReleasing) else { return }
    for stream in Handles.all(Stream.self) { stream.end() }
    let worlds = Handles.all(World.self)
    Handles.removeAll()
    for world in worlds { try world.hosts.meet("the end of the program") }
    for world in worlds { world.hosts.watchEnd() }
    try Runtime.finish()
  }
}

@c @implementation public func morse_abort(_ status: Int32) { Runtime.abort(status: (1...255).contains(status) ? status : 70) }

@c @implementation public func morse_thread_level() -> Int32 { Int32(Runtime.threadLevel.rawValue) }

@c @implementation public func morse_rank(_ world: OpaquePointer!) -> Int32 { number(of: world) { $0.rank } }

@c @implementation public func morse_size(_ world: OpaquePointer!) -> Int32 { number(of: world) { $0.count } }

@c @implementation public func morse_host_rank(_ world: OpaquePointer!) -> Int32 {
  number(of: world) { $0.hosts.host?.rank ?? 0 }
}

@c @implementation public func morse_host_size(_ world: OpaquePointer!) -> Int32 {
  number(of: world) { $0.hosts.host?.count ?? 1 }
}

@c @implementation public func morse_host_count(_ world: OpaquePointer!) -> Int32 { number(of: world) { $0.hosts.hostCount } }

/// A number of a world; -1, with a sentence, for what is none.
private func number(of handle: OpaquePointer?, _ body: (World) -> Int) -> Int32 {
  Int32(found { body(try world(handle)) } ?? -1)
}

@c @implementation public func morse_broadcast(
  _ world: OpaquePointer!, _ values: UnsafeMutableRawPointer!, _ bytes: Int64, _ root: Int32
) -> Int32 {
  status {
    let world = try SharedLibrary.world(world)
    try world.together("a broadcast") {
      try demand(bytes >= 0 && bytes < 1 << 48, "the number of bytes is \(bytes)")
      try demand(values != nil || bytes == 0, "the values were not given: the pointer is null")
      try demand((0..<world.count).contains(Int(root)), "there is no rank \(root) among \(world.count) to send from")
    }
    try withUnsafeBytes(of: (bytes, Int64(root))) { try world.checkEqual("the size of a broadcast", $0) }
    guard bytes > 0 else { return }
    try world.hosts.enter("a broadcast") {
      try world.hosts.world.broadcast(
        UnsafeMutableBufferPointer(start: values.assumingMemoryBound(to: UInt8.self), count: Int(bytes)), root: Int(root))
    }
  }
}

@c @implementation public func morse_check_equal(
  _ world: OpaquePointer!, _ what: UnsafePointer<CChar>!, _ values: UnsafeRawPointer!, _ bytes: Int64
) -> Int32 {
  status {
    let world = try SharedLibrary.world(world)
    try world.together("a comparison") {
      try demand(bytes >= 0, "the number of bytes is \(bytes)")
      try demand(values != nil || bytes == 0, "the values were not given: the pointer is null")
    }
    let name = what.map { String(cString: $0) } ?? "a value"
    try world.checkEqual(name, UnsafeRawBufferPointer(start: values, count: values == nil ? 0 : Int(bytes)))
  }
}

@c @implementation public func morse_world_release(_ world: OpaquePointer!) -> Int32 {
  status { _ = try Handles.remove(world, World.self, "world") }
}
