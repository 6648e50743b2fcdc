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
  /// ρ of aggregations that deliver a change.
  var momentum = 0.0
  /// What exchanges do, and when; nil if nobody wants to know.
  var events: EventLog?

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
    try demand(options.momentum >= 0 && options.momentum < 1, "momentum is a number from 0 to below 1, not \(options.momentum)")
    try demand((0...1).contains(options.records_events), "records_events is 0 or 1, not \(options.records_events)")
    momentum = options.momentum
    events = options.records_events == 1 ? EventLog() : nil
    (self.overlap, self.topology, threads) = (overlap, topology, max(1, Int(options.threads)))
    (isRestorable, passesNonFinite, seed) = (options.is_restorable == 1, options.non_finite == 1, options.seed)
  }

  /// Throws if an aggregation cannot have them.
  func check(for recipe: AggregationRecipe) throws {
    let name = recipe.specification
    try demand(
      recipe.capabilities.result == .change || momentum == 0,
      "momentum is a part of codecs that deliver a change of a model, and '\(name)' delivers a sum")
    guard recipe.codec == nil else { return }
    try demand(!recipe.capabilities.votes, "'\(name)' delivers votes on signs, and this library sums")
    try demand(
      !recipe.capabilities.needsPlainDescent,
      "'\(name)' follows the model that its sums change, which this library does not see")
    try demand(
      overlap == .auto || overlap == .off, "'\(name)' begins with the whole array: overlap is 0 (automatic) or 3 (off)")
    try demand(
      topology != .hierarchical, "'\(name)' encodes the array of each rank: topology is 0 (automatic) or 1 (flat)")
    try demand(!isRestorable, "an exchange of '\(name)' cannot be discarded: is_restorable is 0")
  }

  /// What must be the same on all ranks.
  var line: String { "\(overlap.rawValue) \(topology.rawValue) \(isRestorable) \(passesNonFinite) \(seed) \(momentum)" }
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
