import Buffers
import Codecs
import Testing

/// What codes with random rounding promise on average, by 10⁵ draws: fixed numbers, so that the results are always the same.
@Suite struct UnbiasedCodeTests {
  static let draws = 100_000
  static let names = [
    "terngrad:clip=0", "qsgd", "qsgd:levels=127", "qsgd:levels=1,norm=l2", "qsgd:levels=7,norm=l2,code=elias", "nuqsgd",
    "nuqsgd:levels=20,norm=l2", "natural", "uniform:rounding=stochastic,bits=4", "uniform:rounding=dither,bits=4",
    "uniform:rounding=stochastic,range=min-max,bits=2", "e3m0:rounding=stochastic", "bf16:rounding=stochastic",
    "random-k:k=3,chunk=12,feedback=false", "unbiased-k:k=4,chunk=12",
    "vector:form=unbiased,dimension=8,bits=4", "projection:k=3,chunk=12,feedback=false",
  ]
  /// Between levels, on them, of both signs, and far below the largest.
  static let values: [Float] = [0.7, -1.3, 0.011, 2, 0, -0.25, 1e-4, -0.9, 0.33, -1e-3, 1.5, 0.049]

  /// The means and the variances of what arrives.
  private func moments(_ codec: any Codec, of values: [Float]) -> (means: [Double], variances: [Double]) {
    var (sums, squares) = ([Double](repeating: 0, count: values.count), [Double](repeating: 0, count: values.count))
    let coder = GroupCoder(codec, count: values.count)
    let (code, arrived) = (ByteBuffer(count: codec.encodedByteCount(of: values.count)), FloatBuffer(count: values.count))
    for step in 0..<Self.draws {
      coder.encode(values, at: 0, count: values.count, into: code.baseAddress, context: EncodingContext(seed: 5, step: step))
      coder.decode(code.baseAddress, count: values.count, setting: arrived.baseAddress)
      for i in values.indices {
        let difference = Double(arrived[i]) - Double(values[i])
        sums[i] += difference
        squares[i] += difference * difference
      }
    }
    let means = sums.map { $0 / Double(Self.draws) }
    return (means, zip(squares, means).map { $0 / Double(Self.draws) - $1 * $1 })
  }

  @Test("the mean is the value within three standard errors", arguments: names)
  func unbiasedness(name: String) throws {
    let codec = try codecs.make(name)
    #expect(codec.isUnbiased)
    let (means, variances) = moments(codec, of: Self.values)
    for i in Self.values.indices {
      // Rare levels have a variance by few draws; scales are rounded to fp32.
      let error = 3 * (variances[i] / Double(Self.draws)).squareRoot() + 4e-7 * Double(Self.values[i].magnitude) + 1e-9
      #expect(means[i].magnitude <= error, "\(Self.values[i]) has the mean \(Double(Self.values[i]) + means[i])")
    }
    // The test can fail: something is random.
    #expect(variances.contains { $0 > 1e-10 })
  }

  @Test("the error is what the papers bound it by", arguments: names)
  func variance(name: String) throws {
    let codec = try codecs.make(name)
    let keys = try Specification(codec.specification)
    let n = Double(Self.values.count)
    let energy = Self.values.reduce(0.0) { $0 + Double($1) * Double($1) },
      sum = Self.values.reduce(0.0) { $0 + Double($1.magnitude) }
    let error = moments(codec, of: Self.values).variances.reduce(0, +)
    let levels = Double(keys.options["levels"] ?? "") ?? 1
    switch keys.name {
    case "terngrad": #expect((error + energy - 2 * sum).magnitude < 0.01 * energy)
    case "qsgd" where keys.options["norm"] == "l2":
      let bound = min(n / (levels * levels), n.squareRoot() / levels)
      #expect(error <= bound * energy && error > bound * energy / 50)
    case "qsgd": #expect(error <= n * 4 / (4 * levels * levels))
    case "natural": #expect(error <= energy / 8 && error > energy / 50)
    case "nuqsgd":
      #expect(error <= (0.125 + Double(sign: .plus, exponent: -Int(levels), significand: 1) * n.squareRoot()) * energy)
    case "e3m0": #expect(error <= (0.125 + n / 64 / 64) * energy)
    case "random-k", "projection": #expect((error / ((n / 3 - 1) * energy) - 1).magnitude < 0.02, "\(error)")
    case "vector": #expect(error <= 16 * energy && error > energy)
    case "unbiased-k":
      let p = SparseReference.probabilities(Self.values, k: 4)
      let expected = zip(Self.values, p).reduce(0.0) { $0 + ($1.1 > 0 ? Double($1.0) * Double($1.0) * (1 / $1.1 - 1) : 0) }
      #expect((error / expected - 1).magnitude < 0.02, "\(error)")
    case "bf16": #expect(error <= energy / 128 / 128)
    default:
      let step = keys.options["range"] == "min-max" ? 3.3 / 3 : 2.0 / 7
      if keys.options["rounding"] == "dither" {
        #expect((error / (n * step * step / 12) - 1).magnitude < 0.02, "\(error)")
      } else {
        #expect(error <= n * step * step / 4)
      }
    }
  }

  @Test(
    "ranks round independently of one another, groups and steps too",
    arguments: ["qsgd", "natural", "terngrad", "uniform:rounding=dither"])
  func independence(name: String) throws {
    let codec = try codecs.make(name)
    let count = 4096, values = Gradients.normal.values(count)
    func errors(_ context: EncodingContext) -> [Double] {
      let code = codec.encode(values, residual: [Float](repeating: 0, count: count), context: context).code
      return zip(codec.decode(code, count: count), values).map { Double($0) - Double($1) }
    }
    let first = errors(EncodingContext(stream: 2))
    #expect(first == errors(EncodingContext(stream: 2)))
    for other in [
      EncodingContext(stream: 4), EncodingContext(stream: 3), EncodingContext(step: 1, stream: 2),
      EncodingContext(stream: 2, group: 1),
    ] {
      let second = errors(other)
      let product = zip(first, second).reduce(0) { $0 + $1.0 * $1.1 }
      let norms = (first.reduce(0) { $0 + $1 * $1 } * second.reduce(0) { $0 + $1 * $1 }).squareRoot()
      #expect((product / norms).magnitude < 5 / Double(count).squareRoot())
    }
  }

  @Test("nearest powers lose at most a ninth of the squares, and signs what the formula says")
  func contraction() throws {
    for family in Gradients.allCases {
      let v = family.values(1000)
      let energy = v.reduce(0.0) { $0 + Double($1) * Double($1) }
      for name in ["e3m0", "ef-sign"] {
        let encoded = try codecs.make(name).encode(v, residual: [Float](repeating: 0, count: 1000))
        let lost = encoded.residual.reduce(0.0) { $0 + Double($1) * Double($1) }
        let largest = Double(v.map(\.magnitude).max() ?? 0)
        if name == "e3m0" {
          // Values below the least power may vanish, up to 2⁻⁶ of the largest.
          #expect(lost <= energy / 9 + 1000 * (largest / 64) * (largest / 64), "\(family)")
        } else if family != .denormal {
          let sum = v.reduce(0.0) { $0 + Double($1.magnitude) }
          #expect((lost - (energy - sum * sum / 1000)).magnitude <= 1e-4 * energy, "\(family)")
        }
      }
    }
  }
}
