internal import Buffers
internal import Codecs
internal import Collectives
internal import Transport

// A new codec, or a new order of the tensors; what is left behind stays.
extension CodedSums {
  /// Changes the codec, which has been compared between ranks.
  ///
  /// Collective.
  func change(to codec: any Codec) throws { try change(to: codec, layout) }

  /// Changes the order of the tensors, which has been compared between ranks.
  ///
  /// Collective.
  func arrange(_ layout: TensorLayout) throws {
    if layout != self.layout { try change(to: exchange.codec, layout) }
  }

  /// Throws unless `other` has the tensors of this stream, in any order.
  func demandSameTensors(_ other: TensorLayout) throws {
    let (own, given) = (Set(layout.lines), Set(other.lines))
    if let line = given.subtracting(own).sorted().first { throw Failure.usage("the stream has no tensor \(line)") }
    if let line = own.subtracting(given).sorted().first { throw Failure.usage("the tensor \(line) of the stream is missing") }
  }

  private func change(to codec: any Codec, _ layout: TensorLayout) throws {
    let (made, free) = try CodedSums.exchange(codec, layout, gradient, options, world)
    earlier.add(exchange)
    if made.residual.count > 0 {
      if exchange.residual.count > 0 {
        let owned = try ownersResiduals()
        made.residual.copy(from: moved(exchange.residual, to: layout))
        take(moved(owned, to: layout), into: made)
      } else if let setAside {
        made.residual.copy(from: moved(setAside, to: layout))
      }
      setAside = nil
      try made.place()
    } else {
      setAside = leftBehind().map { moved($0, to: layout) }
    }
    let old = release
    (exchange, release, self.layout) = (made, free, layout)
    try old()
  }

  /// The residuals of all owners, in one buffer of the layout; collective.
  ///
  /// Each value is that of one rank, so that the sum of floats is exact.
  private func ownersResiduals() throws -> FloatBuffer {
    let total = FloatBuffer(count: layout.count)
    let (_, free) = try world.hosts.notingMemory {
      let own = try SharedGradient(count: layout.count, hosts: world.hosts)
      eachOwned(of: exchange) { place, index in own.values.baseAddress[place] = exchange.ownerResidual.baseAddress[index] }
      let floats = try CodedAllReduce(Identity(), layout: layout, gradient: own)
      try floats.run(step: 0, into: .buffer(total))
    }
    try free()
    return total
  }

  /// Sets what `exchange` keeps as an owner to the values of a buffer of its layout.
  private func take(_ values: FloatBuffer, into exchange: CodedAllReduce) {
    eachOwned(of: exchange) { place, index in exchange.ownerResidual.baseAddress[index] = values.baseAddress[place] }
  }

  /// Calls `body` with the place in the array of each value that this rank owns, and its index among them.
  private func eachOwned(of exchange: CodedAllReduce, _ body: (_ place: Int, _ index: Int) -> Void) {
    var index = 0
    for range in exchange.ownedRanges {
      for place in range {
        body(place, index)
        index += 1
      }
    }
  }

  /// What this rank has left behind of its contributions and of the sums that it owns, in one buffer of the layout; nil if
  /// nothing.
  ///
  /// An owner's residual is part of a sum over the ranks: added to the residual of the owner's own contribution, it is delivered
  /// as well.
  private func leftBehind() -> FloatBuffer? {
    guard exchange.residual.count > 0 else { return setAside }
    let left = FloatBuffer(count: layout.count)
    left.copy(from: exchange.residual)
    eachOwned(of: exchange) { place, index in left.baseAddress[place] += exchange.ownerResidual.baseAddress[index] }
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
