public import MPI
import Testing
import _TestSupport

extension Float16: Datatype {}
extension Int128: Datatype {}
extension Bool: Datatype {}
extension Optional: Datatype where Wrapped: Datatype {}

extension SerialTests {
  /// Values of types that MPI does not know.
  @Suite(.serialized) struct OwnTypeTests {
    let world = World.communicator
    var ranks: Range<Int> { 0..<world.count }
    var next: Int { (world.rank + 1) % world.count }
    var previous: Int { (world.rank + world.count - 1) % world.count }

    @Test(arguments: [0, 1, 3, 1_000]) func halfPrecision(count: Int) throws {
      try ReductionTests().check(count, .sum, { Float16($0) }, +)
      try ReductionTests().check(count, .product, { Float16(1 + $0 % 2) }, *)
      try ReductionTests().check(count, .max, { Float16($0) }, { Swift.max($0, $1) })
      try ReductionTests().check(count, .min, { Float16($0) }, { Swift.min($0, $1) })
      let values = [Float16](repeating: 0.5, count: count)
      #expect(try world.startAllReduce(values, .sum).wait() == values.map { $0 * Float16(world.count) })
    }

    @Test(arguments: [0, 1, 3, 1_000]) func integersOf128Bits(count: Int) throws {
      // Beyond 64 bits, and with overflow, as MPI's own integers have it.
      func large(_ value: Int) -> Int128 { Int128(value) << 120 }
      try ReductionTests().check(count, .sum, large, &+)
      try ReductionTests().check(count, .product, { Int128($0) << 40 }, &*)
      try ReductionTests().check(count, .max, large, { Swift.max($0, $1) })
      try ReductionTests().check(count, .min, large, { Swift.min($0, $1) })
      try ReductionTests().check(count, .bitwiseAnd, large, &)
      try ReductionTests().check(count, .bitwiseOr, large, |)
      try ReductionTests().check(count, .bitwiseXor, large, ^)
      try ReductionTests().check(count, .logicalAnd, { Int128($0 % 2) }, { $0 != 0 && $1 != 0 ? 1 : 0 })
      try ReductionTests().check(count, .logicalOr, { Int128($0 / 11) }, { $0 != 0 || $1 != 0 ? 1 : 0 })
    }

    /// a + b·√2, with a product of its own.
    struct Surd: Numeric, Datatype {
      var a: Int
      var b: Int32
      init(_ a: Int, _ b: Int32) {
        self.a = a
        self.b = b
      }
      init(integerLiteral value: Int) { self.init(value, 0) }
      init?<T: BinaryInteger>(exactly source: T) { self.init(Int(source), 0) }
      var magnitude: Int { abs(a) }
      static func + (left: Surd, right: Surd) -> Surd { Surd(left.a + right.a, left.b + right.b) }
      static func - (left: Surd, right: Surd) -> Surd { Surd(left.a - right.a, left.b - right.b) }
      static func * (left: Surd, right: Surd) -> Surd {
        let (a, b) = (Int32(truncatingIfNeeded: left.a), Int32(truncatingIfNeeded: right.a))
        return Surd(Int(a &* b &+ 2 &* left.b &* right.b), a &* right.b &+ left.b &* b)
      }
      static func *= (left: inout Surd, right: Surd) { left = left * right }
    }

    @Test(arguments: [0, 1, 3, 1_000]) func numbersOfOnesOwn(count: Int) throws {
      try ReductionTests().check(count, .sum, { Surd($0, Int32($0 * 2)) }, +)
      try ReductionTests().check(count, .product, { Surd($0, Int32($0 * 2)) }, *)
    }

    /// Wider than the alignment of MPI's own buffers.
    @Test(arguments: [1, 3, 1_001]) func vectors(count: Int) throws {
      struct Lanes: Datatype, Equatable { var values: SIMD8<Float> }
      let sum = Operation<Lanes>.combining { Lanes(values: $0.values + $1.values) }
      try ReductionTests().check(
        count, sum, { Lanes(values: SIMD8(repeating: Float($0))) }, { Lanes(values: $0.values + $1.values) })
    }

    enum Colour: UInt8, Datatype { case red, green, blue }
    struct Inner: Datatype, Equatable {
      var name: UInt16
      var isOpen: Bool
    }
    struct Outer: Datatype, Equatable {
      var inner: Inner
      var colour: Colour
      var length: Double?
      var pair: Int8
    }
    struct Empty: Datatype, Equatable {}
    /// Its size is less than its stride.
    struct Padded: Datatype, Equatable {
      var x: Double
      var name: UInt8
    }

    func outer(_ rank: Int) -> Outer {
      Outer(
        inner: Inner(name: UInt16(rank), isOpen: rank % 2 == 0), colour: Colour(rawValue: UInt8(rank % 3))!,
        length: rank == 1 ? nil : Double(rank) / 3, pair: Int8(rank))
    }

    /// `value` of each rank, through every form of one value.
    func travels<T: Datatype & Equatable>(_ value: (_ rank: Int) -> T) throws {
      let mine = value(world.rank)
      let sending = try world.startSend([mine], to: next, tag: 51)
      #expect(try world.receiveValue(T.self, from: previous, tag: 51) == value(previous))
      try sending.wait()
      // A single value is sent by a blocking call; to oneself it is short enough.
      if world.rank == 0 { try world.send(mine, to: world.count - 1, tag: 52) }
      if world.rank == world.count - 1 { #expect(try world.receiveValue(T.self, from: 0, tag: 52) == value(0)) }
      #expect(try world.broadcast(mine, root: world.count - 1) == value(world.count - 1))
      #expect(try world.allGather(mine) == ranks.map(value))
      #expect(try world.gather([mine], root: 0) == (world.rank == 0 ? ranks.map(value) : nil))
      #expect(try world.scatter(ranks.map(value), root: 0) == [mine])
      #expect(
        try world.allToAll(varying: ranks.map { [T](repeating: mine, count: $0) })
          == ranks.map { [T](repeating: value($0), count: world.rank) })
      let last = Operation<T>.combining { $1 }
      #expect(try world.allReduce(mine, last) == value(world.count - 1))
      #expect(try world.scan(mine, last) == mine)
      #expect(try world.startAllReduce([mine], last).wait() == [value(world.count - 1)])
    }

    @Test func valuesOfManyTypesTravel() throws {
      try travels { $0 % 2 == 0 }
      try travels { Colour(rawValue: UInt8($0 % 3))! }
      try travels(outer)
      try travels { _ in Empty() }
      try travels { Padded(x: Double($0) / 3, name: UInt8($0)) }
      try travels { Float16($0) }
      try travels { $0 == 0 ? nil : Padded(x: 1, name: UInt8($0)) }
      try travels { Int128($0) << 100 }
    }

    /// Alone, where MPI has not started when the first value comes.
    @Test(.enabled(if: Job.isRunning("structsAlone"), "a program of this suite")) func structsAlone() {
      withMPI { world in
        let sending = try world.startSend([Padded(x: 1.5, name: 7)], to: 0)
        let received = try world.receiveValue(Padded.self, from: 0)
        try sending.wait()
        try world.send(outer(0), to: 0)
        let outer = try world.receive(Outer.self, from: 0)
        print("structs: \(received == Padded(x: 1.5, name: 7) && outer.values == [self.outer(0)])")
      }
    }

    @Test(.outsideMPI, arguments: [nil, 1]) func structsNeedNoLauncher(ranks: Int?) throws {
      let job = Job.test("structsAlone")
      let result = try ranks.map { try job.run(ranks: $0) } ?? job.run()
      #expect(result.status == 0, "\(result.standardError)")
      #expect(result.standardOutput.contains("structs: true"))
    }
  }
}
