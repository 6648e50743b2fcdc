internal import CMorse
internal import Collectives

/// The options of a stream, checked.
struct StreamOptions {
  var overlap = Overlap.auto
  var topology = Topology.auto
  var threads = 1
  var isRestorable = false
  var passesNonFinite = false
  var seed: UInt64 = 1

  /// Those of the caller, as far as its struct goes; the defaults without one.
  init(_ given: UnsafePointer<morse_options>?) throws {
    guard let given else { return }
    let options = try morse_options.read(given, size: given.pointee.size, "morse_options")
    let overlaps: [Overlap] = [.auto, .thread, .inline, .off]
    let topologies: [Topology] = [.auto, .flat, .hierarchical]
    guard let overlap = overlaps.at(options.overlap) else { throw Failure.usage("overlap is 0 to 3, not \(options.overlap)") }
    guard let topology = topologies.at(options.topology) else {
      throw Failure.usage("topology is 0 to 2, not \(options.topology)")
    }
    try demand(options.threads >= 0, "threads is a number of threads, not \(options.threads)")
    try demand((0...1).contains(options.is_restorable), "is_restorable is 0 or 1, not \(options.is_restorable)")
    try demand((0...1).contains(options.non_finite), "non_finite is 0 or 1, not \(options.non_finite)")
    (self.overlap, self.topology, threads) = (overlap, topology, max(1, Int(options.threads)))
    (isRestorable, passesNonFinite, seed) = (options.is_restorable == 1, options.non_finite == 1, options.seed)
  }

  /// What must be the same on all ranks.
  var line: String { "\(overlap.rawValue) \(topology.rawValue) \(isRestorable) \(passesNonFinite) \(seed)" }
}

extension Array {
  fileprivate func at(_ index: Int32) -> Element? { indices.contains(Int(index)) ? self[Int(index)] : nil }
}

/// A struct that begins with its size, as the caller was compiled with it.
protocol SizedStruct {
  init()
}

extension SizedStruct {
  /// A copy of `size` bytes of a struct of the caller; what it does not have is zero.
  static func read(_ given: UnsafePointer<Self>, size: UInt32, _ name: String) throws -> Self {
    try demand(size >= 8, "the size of \(name) is not set")
    var copy = Self()
    withUnsafeMutableBytes(of: &copy) { room in
      room.copyMemory(from: UnsafeRawBufferPointer(start: given, count: Swift.min(Int(size), room.count)))
    }
    return copy
  }
}

extension morse_options: SizedStruct {}
extension morse_world_options: SizedStruct {}
extension morse_counters: SizedStruct {}
