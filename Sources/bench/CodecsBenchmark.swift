internal import Buffers
internal import Codecs
internal import Kernels

/// Encodes and decodes a gradient of `count` values, seen as a matrix with rows of `row` values, in one thread.
struct CodecsBenchmark {
  let codec: any Codec
  let count: Int
  let row: Int
  private let groups: [Range<Int>]
  /// The bytes of the codes of this gradient, which follow one another.
  private var byteCount = 0
  private let gradient: FloatBuffer
  private let coder: GroupCoder
  private let residual: FloatBuffer
  private let values: FloatBuffer
  private let codes: [ByteBuffer]

  /// The number of codes that `decode-sum` sums.
  static let codeCount = 8

  init(codec: any Codec, count: Int, row: Int) {
    self.codec = codec
    self.count = count
    self.row = row
    var layout = TensorLayout()
    layout.append("weights", shape: [count / row, row])
    layout.append("rest", shape: [count % row])
    groups = codec.grouping.groups(of: layout)
    let most = groups.reduce(0) { $0 + codec.encodedByteCount(of: $1.count) }
    gradient = FloatBuffer(count: count)
    residual = FloatBuffer(count: count)
    coder = GroupCoder(codec, residual: residual)
    values = FloatBuffer(count: count)
    codes = (0..<Self.codeCount).map { _ in ByteBuffer(count: most) }
    gradient.fillWithNoise()
    byteCount = encode()
  }

  /// Encodes the gradient; returns the number of bytes.
  private func encode() -> Int {
    groups.reduce(0) { end, group in
      end
        + coder.encode(
          gradient.baseAddress + group.lowerBound, at: group.lowerBound, count: group.count, into: codes[0].baseAddress + end,
          context: EncodingContext())
    }
  }

  enum Operation: String, CaseIterable {
    case encode, decodeSet = "decode-set", decodeAdd = "decode-add", decodeSum = "decode-sum"
  }

  /// The bytes that an operation must move, per value.
  func bytesPerValue(_ operation: Operation) -> Double {
    let code = Double(byteCount) / Double(count)
    return switch operation {
    case .encode: (codec.isIdentity ? 4 : 12) + code
    case .decodeSet: 4 + code
    case .decodeAdd: 8 + code
    case .decodeSum: 4 + code * Double(Self.codeCount)
    }
  }

  /// The seconds of one operation over the whole gradient.
  func time(_ operation: Operation) -> Double {
    let coder = coder
    let code = codes[0].baseAddress
    return switch operation {
    case .encode:
      seconds { _ = encode() }
    case .decodeSet:
      seconds {
        // A result that fits into the cache is decoded into it.
        let streaming = count > 1 << 19
        var end = 0
        for group in groups {
          end += coder.decode(
            code + end, count: group.count, setting: values.baseAddress + group.lowerBound, streaming: streaming)
        }
        finishStreaming()
      }
    case .decodeAdd:
      seconds {
        var end = 0
        for group in groups {
          end += coder.decode(code + end, count: group.count, addingTo: values.baseAddress + group.lowerBound)
        }
      }
    case .decodeSum:
      seconds {
        withUnsafeTemporaryAllocation(of: UnsafeRawPointer.self, capacity: codes.count) { pieces in
          // Each sum moves them to the next group.
          for k in codes.indices { pieces[k] = UnsafeRawPointer(codes[k].baseAddress) }
          for group in groups {
            coder.decodeSum(
              pieces.baseAddress!, codeCount: codes.count, count: group.count, into: values.baseAddress + group.lowerBound)
          }
        }
      }
    }
  }

  /// The seconds of the update loop on the same buffers.
  func update() -> Double { MemoryBandwidth(values: values, other: gradient).update() }

  /// Encodes once from empty residuals and counts the values for which decoded + remainder differs from the gradient; 0 if the codec
  /// keeps no remainder.
  func countWrong() -> Int {
    residual.clear()
    _ = time(.encode)
    _ = time(.decodeSet)
    for k in 1..<codes.count { codes[k].baseAddress.copyMemory(from: codes[0].baseAddress, byteCount: byteCount) }
    guard codec.keepsRemainder else { return 0 }
    return (0..<count).count { i in
      let (v, y, rest) = (gradient.baseAddress[i] + 0.0, values.baseAddress[i], residual.baseAddress[i])
      let largest = max(v.magnitude, y.magnitude, rest.magnitude)
      return (Double(y) + Double(rest) - Double(v)).magnitude > Double(largest.ulp) / 2
    }
  }

  /// Adds a row to the table for each operation; returns the number of wrong values.
  func measure(iterations: Int, into table: Table) -> Int {
    let wrong = countWrong()
    for operation in Operation.allCases {
      var (rates, fractions, limits): ([Double], [Double], [Double]) = ([], [], [])
      for iteration in 0...iterations {
        let mine = secondsPerCall(count) { time(operation) } / Double(count)
        let limit = MemoryBandwidth.updateBytes * Double(count) / secondsPerCall(count, update)
        // The first pair warms up.
        guard iteration > 0 else { continue }
        rates.append(1 / mine)
        limits.append(limit)
        fractions.append(bytesPerValue(operation) / mine / limit)
      }
      table.row([
        .text(codec.specification), .text(operation.rawValue), .integer(count), .integer(row), .number(rates.percentile()),
        .number(rates.percentile() * bytesPerValue(operation) / 1e9), .number(limits.percentile() / 1e9),
        .number(fractions.percentile()), .number(8 * Double(byteCount) / Double(count)), .integer(wrong),
      ])
    }
    return wrong
  }

  static let columns = [
    Column("codec", "codec"), Column("operation", "operation"), Column("count", "values", .integer),
    Column("row", "row", .integer), Column("valuesPerSecond", "10⁹ values/s", .decimal(2, scale: 1e-9)),
    Column("bandwidth", "GB/s", .decimal(1)), Column("limit", "update GB/s", .decimal(1)),
    Column("fractionOfLimit", "fraction", .decimal(2)), Column("bitsPerValue", "bits/value", .decimal(3)),
    Column("wrong", "wrong", .integer),
  ]
}
