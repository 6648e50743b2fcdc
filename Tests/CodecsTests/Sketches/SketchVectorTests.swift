import Buffers
import Codecs
import Testing

/// Known answers, from programs that share nothing with this one (algorithms §2.1).
@Suite struct SketchVectorTests {
  let a: UInt64 = 1_234_567_890_123_456_789
  let b: UInt64 = 987_654_321_987_654_321

  @Test("the affine polynomial")
  func affine() {
    let polynomials = Polynomials(affine: (a, b), cubic: (0, 0, 0, 0))
    let indices: [UInt64] = [0, 1, 2, 1_000_000, 1 << 31]
    let values = indices.map { polynomials.affine($0) }
    #expect(
      values == [
        987_654_321_987_654_321, 2_222_222_212_111_111_110, 1_150_947_093_020_873_948, 2_083_900_693_325_737_313,
        912_430_730_464_482_947,
      ])
    #expect(values.map { $0 % 1000 } == [321, 110, 948, 313, 947])
  }

  @Test("the cubic polynomial")
  func cubic() {
    let polynomials = Polynomials(affine: (0, 0), cubic: (a, b, 1_111_111_111_111_111_111, 2_222_222_222_222_222_222))
    let indices: [UInt64] = [0, 1, 2, 1_000_000, 1 << 31]
    let values = indices.map { polynomials.cubic($0) }
    #expect(
      values == [
        2_222_222_222_222_222_222, 943_869_527_017_056_541, 2_130_703_788_886_858_383, 1_663_161_662_050_931_125,
        1_012_283_035_047_913_282,
      ])
    #expect(values.map { $0 % 2 } == [0, 1, 1, 1, 0])
  }

  @Test("coefficients of seed 42, shard 0")
  func coefficients() throws {
    let hashes = try SketchHashes(rows: 3, columns: 7, seed: 42)
    #expect(
      hashes.polynomials.map(\.coefficients) == [
        [
          632_089_453_265_781_485, 23_885_818_097_242_990, 1_237_294_361_513_740_653, 1_497_807_201_021_125_245,
          26_766_549_938_204_727, 1_291_106_428_049_691_251,
        ],
        [
          1_469_903_799_546_854_422, 1_397_721_190_150_611_569, 2_294_703_972_907_243_719, 1_737_963_262_500_218_016,
          1_970_565_887_912_676_951, 1_741_390_482_307_272_668,
        ],
        [
          437_123_254_585_982_512, 559_724_376_303_383_151, 2_011_046_585_269_534_005, 664_720_356_604_499_468,
          2_223_607_414_260_110_307, 1_380_270_838_615_582_932,
        ],
      ])
  }

  @Test("a table, its estimates and its norm")
  func table() throws {
    let hashes = try SketchHashes(rows: 3, columns: 7, seed: 42)
    let x: [Int64] = [1, -2, 3, 0, 5, -6, 7, 8, 100, -9]
    let table: [Int64] = [96, 0, 1, 0, -10, 0, -8, 8, 3, 100, 14, 0, 5, 5, -6, 100, -4, 9, 4, 0, -8]
    let estimates: [Int64] = [6, 4, 3, -8, 6, -4, 5, 8, 100, -9]

    let integers = CountSketch<Int64>(hashes, of: x)
    #expect(integers.cells == table)
    #expect(integers.estimates(10) == estimates)
    #expect((0..<10).map { integers.estimate(at: $0) } == estimates)
    #expect(integers.squaredNorm() == 10213)

    let floats = CountSketch<Float>(hashes, of: x.map(Float.init))
    #expect(floats.cells == table.map(Float.init))
    #expect(floats.estimates(10) == estimates.map(Float.init))
    #expect(floats.squaredNorm() == 10213)

    let doubles = CountSketch<Double>(hashes, of: x.map(Double.init))
    #expect(doubles.cells == table.map(Double.init))
    #expect(doubles.estimates(10) == estimates.map(Double.init))
    #expect(doubles.squaredNorm() == 10213)
  }

  @Test("cells and signs of both families, against 128-bit arithmetic", arguments: SketchHashes.Family.allCases)
  func functions(family: SketchHashes.Family) throws {
    for (columns, shard, bucket, epoch) in [
      (1024, 0, 0, 0), (1531, 5, 2, 3), (16_383, 1, 0, 0), (16_384, 2, 0, 0), (262_143, 3, 0, 0), (262_144, 4, 0, 0),
      (1 << 20, 63, 1, 0),
    ] {
      let seed: UInt64 = 0x1234_5678_9ABC_DEF0
      let hashes = try SketchHashes(
        family, rows: 21, columns: columns, seed: seed, shard: shard, bucket: bucket, epoch: epoch)
      let reference = ReferenceHashes(
        family, rows: 21, columns: columns, seed: seed, shard: shard, bucket: bucket, epoch: epoch)
      for i in [0, 1, 63, 64, 255, 256, 1023, 1024, 1025, 4095, 4096, 1 << 20, 1 << 31 + 77, 1 << 32 - 1] {
        for j in 0..<21 {
          #expect(hashes.cell(i, row: j) == reference.cell(i, row: j))
          #expect(hashes.isNegative(i, row: j) == (reference.sign(i, row: j) == -1))
        }
      }
    }
  }

  @Test("tables and estimates of both families, against values one by one", arguments: SketchHashes.Family.allCases)
  func insertion(family: SketchHashes.Family) throws {
    for (rows, columns) in [(1, 256), (3, 257), (5, 1531), (3, 16_384), (5, 17_001), (3, 262_147)] {
      let hashes = try SketchHashes(family, rows: rows, columns: columns, seed: 3)
      let reference = ReferenceHashes(family, rows: rows, columns: columns, seed: 3)
      for (first, count) in [
        (0, 0), (0, 1), (0, 256), (0, 1023), (0, 1024), (0, 1025), (0, 20_000), (100, 3000), (2047, 2), (1 << 31, 1700),
      ] {
        let x = Gradients.normal.values(count)
        let sketch = CountSketch<Float>(hashes, of: x, at: first)
        let table = reference.table(x, at: first)
        #expect(sketch.cells.patterns == table.patterns, "\(rows) × \(columns), \(count) from \(first)")
        let estimates = (0..<count).map { reference.estimate(table, first + $0) }
        #expect(sketch.estimates(count, at: first).patterns == estimates.patterns)
        if count > 0 { #expect(sketch.estimate(at: first + count / 2).bitPattern == estimates[count / 2].bitPattern) }
      }
    }
  }
}
