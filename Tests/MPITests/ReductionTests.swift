import MPI
import Testing
import _TestSupport

extension SerialTests {
  @Suite struct ReductionTests {
    let world = World.communicator
    var ranks: Range<Int> { 0..<world.count }

    /// Small integers: their sums are exact in every type and order.
    func value(_ rank: Int, _ index: Int) -> Int { (rank * 7 + index * 3) % 11 + 1 }

    /// Element by element, the combination of `upTo`.
    func expected<T: Datatype>(_ count: Int, _ ranks: Range<Int>, _ make: (Int) -> T, _ combine: (T, T) -> T) -> [T] {
      (0..<count).map { index in
        ranks.dropFirst().reduce(make(value(ranks.lowerBound, index))) { combine($0, make(value($1, index))) }
      }
    }

    func check<T: Datatype & Equatable>(
      _ count: Int, _ operation: Operation<T>, _ make: (Int) -> T, _ combine: (T, T) -> T
    ) throws {
      let mine = (0..<count).map { make(value(world.rank, $0)) }
      let all = expected(count, ranks, make, combine)

      var reduced = mine
      try world.allReduce(&reduced, operation)
      #expect(reduced == all)

      for root in Set([0, world.count - 1]).sorted() {
        let atRoot = try world.reduce(mine, operation, root: root)
        #expect(atRoot == (world.rank == root ? all : nil))
      }

      var scanned = mine
      try world.scan(&scanned, operation)
      #expect(scanned == expected(count, 0..<world.rank + 1, make, combine))

      var before = mine
      try world.exclusiveScan(&before, operation, initial: make(0))
      #expect(before == (world.rank == 0 ? mine.map { _ in make(0) } : expected(count, 0..<world.rank, make, combine)))

      // Ranges of different lengths, some empty.
      let cuts = (0...world.count).map { $0 == world.count ? count : $0 * count / world.count / 2 }
      let ranges = ranks.map { cuts[$0]..<cuts[$0 + 1] }
      #expect(try world.reduceScatter(mine, ranges: ranges, operation) == Array(all[ranges[world.rank]]))
    }

    @Test(arguments: awkwardCounts) func sums(count: Int) throws {
      try check(count, .sum, { Float($0) }, +)
      try check(count, .sum, { Double($0) }, +)
      try check(count, .sum, { Int32($0) }, +)
      try check(count, .sum, { $0 }, +)
      try check(count, .sum, { UInt64($0) }, +)
      try check(count, .sum, { UInt8($0) }, &+)
    }

    @Test(arguments: [1, 17]) func otherOperations(count: Int) throws {
      try check(count, .product, { Double($0) }, *)
      try check(count, .max, { Float($0) }, { Swift.max($0, $1) })
      try check(count, .min, { Int8($0) }, { Swift.min($0, $1) })
      try check(count, .bitwiseAnd, { UInt32($0) }, &)
      try check(count, .bitwiseOr, { Int64($0) }, |)
      try check(count, .bitwiseXor, { UInt16($0) }, ^)
      try check(count, .logicalAnd, { Int32($0 % 2) }, { $0 != 0 && $1 != 0 ? 1 : 0 })
      try check(count, .logicalOr, { Int32($0 / 11) }, { $0 != 0 || $1 != 0 ? 1 : 0 })
    }

    @Test(arguments: [0, 1, 10]) func equalBlocks(perRank: Int) throws {
      let values = (0..<perRank * world.count).map { Float(value(world.rank, $0)) }
      let all = expected(values.count, ranks, { Float($0) }, +)
      let mine = try world.reduceScatter(values, .sum)
      #expect(mine == Array(all[world.rank * perRank..<(world.rank + 1) * perRank]))
    }

    @Test func oneValue() throws {
      #expect(try world.allReduce(world.rank, .max) == world.count - 1)
      #expect(try world.allReduce(1.5, .sum) == 1.5 * Double(world.count))
      #expect(try world.scan(1, .sum) == world.rank + 1)
      #expect(try world.exclusiveScan(2, .sum, initial: 0) == 2 * world.rank)
    }

    /// x ↦ a·x + b: composition is associative and not commutative.
    struct Affine: Datatype, Equatable {
      var a: Int64
      var b: Int64
      func then(_ next: Affine) -> Affine { Affine(a: next.a &* a, b: next.a &* b &+ next.b) }
    }

    @Test(arguments: awkwardCounts) func operationsOfOnesOwnKeepOrder(count: Int) throws {
      let compose = Operation<Affine>.combining { $0.then($1) }
      try check(count, compose, { Affine(a: Int64($0), b: Int64($0 * $0)) }, { $0.then($1) })
    }

    @Test func operationsCaptureAndLive() throws {
      for modulus in [5, 7, 11, 13] {
        let operation = Operation<Int32>.combining(isCommutative: true) { ($0 + $1) % Int32(modulus) }
        let sum = try world.allReduce(Int32(world.rank + 1), operation)
        let start = Int32(1)
        #expect(sum == ranks.dropFirst().reduce(start) { ($0 + Int32($1 + 1)) % Int32(modulus) })
      }
    }
  }
}
