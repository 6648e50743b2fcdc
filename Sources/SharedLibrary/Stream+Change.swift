internal import Buffers
internal import Codecs
internal import Collectives
internal import Transport

// A new codec, or a new order of the tensors; what is left behind stays.
extension Stream {
  /// Changes the codec; collective. It has been compared between ranks.
  func change(to codec: any Codec) throws { try change(to: codec, layout) }

  /// Changes the order of the tensors; collective. It has been compared between ranks, and has the stream's tensors.
  func arrange(_ layout: TensorLayout) throws { try change(to: exchange.codec, layout) }

  /// Throws unless `other` has the tensors of this stream, in any order.
  func demandSameTensors(_ other: TensorLayout) throws {
    let (own, given) = (Set(layout.lines), Set(other.lines))
    if let line = given.subtracting(own).sorted().first { throw Failure.usage("the stream has no tensor \(line)") }
    if let line = own.subtracting(given).sorted().first { throw Failure.usage("the tensor \(line) of the stream is missing") }
  }

  private func change(to codec: any Codec, _ layout: TensorLayout) throws {
    let (made, free) = try Stream.exchange(codec, layout, gradient, options, world)
    let left = leftBehind().map { moved($0, to: layout) }
    earlier.add(exchange)
    let old = release
    (exchange, release, self.layout) = (made, free, layout)
    setAside = nil
    if let left {
      if made.residual.count > 0 { made.residual.copy(from: left) } else { setAside = left }
    }
    try made.place()
    try old()
  }

  /// What this rank has left behind of its contributions and of the sums that it owns, in one buffer of the layout; nil if nothing.
  ///
  /// An owner's residual is part of a sum over the ranks: added to the residual of the owner's own contribution, it is delivered as well.
  private func leftBehind() -> FloatBuffer? {
    guard exchange.residual.count > 0 else { return setAside }
    let left = FloatBuffer(count: layout.count)
    left.copy(from: exchange.residual)
    var start = 0
    for range in exchange.ownedRanges {
      for (index, place) in range.enumerated() { left.baseAddress[place] += exchange.ownerResidual.baseAddress[start + index] }
      start += range.count
    }
    return left
  }

  /// The values of the present layout in the order of another one.
  private func moved(_ values: FloatBuffer, to layout: TensorLayout) -> FloatBuffer {
    guard layout != self.layout else { return values }
    let moved = FloatBuffer(count: layout.count)
    let places = Dictionary(uniqueKeysWithValues: self.layout.tensors.map { ($0.name, $0.range) })
    for tensor in layout.tensors where tensor.count > 0 {
      let source = places[tensor.name]!
      (moved.baseAddress + tensor.range.lowerBound).update(from: values.baseAddress + source.lowerBound, count: source.count)
    }
    return moved
  }
}

/// What exchanges have counted.
struct StreamCounts {
  var traffic = Traffic()
  var timing = ExchangeTiming()
  var exchangeCount = 0
  var nonFiniteGroups = 0

  /// Adds the counts of an exchange.
  mutating func add(_ exchange: CodedAllReduce) {
    traffic += exchange.traffic
    timing.encode += exchange.timing.encode
    timing.sum += exchange.timing.sum
    timing.decode += exchange.timing.decode
    timing.wait += exchange.timing.wait
    exchangeCount += exchange.exchangeCount
    nonFiniteGroups += exchange.nonFiniteGroups
  }
}
