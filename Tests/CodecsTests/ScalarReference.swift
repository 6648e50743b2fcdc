import Buffers
import Codecs

/// The codes with one scale for each group, value by value, as their formats describe them.
struct ScalarReference {
  let keys: Specification
  /// The random word of a value.
  var word: (Int) -> UInt32
  /// The dither of a value, in [−½, ½).
  var dither: (Int) -> Float

  /// The reference of a codec in one of these forms, with the random numbers of `context`; nil for other codecs.
  init?(_ codec: any Codec, context: EncodingContext = EncodingContext()) {
    guard let keys = try? Specification(codec.specification),
      ["ef-sign", "terngrad", "qsgd", "nuqsgd", "natural", "uniform", "e3m0", "bf16", "fp16", "codebook", "fixed-threshold"]
        .contains(keys.name)
    else { return nil }
    self.keys = keys
    let numbers = context.random(.stochasticRounding)
    word = { numbers.words(quad: $0 / 4)[$0 % 4] }
    let key = context.random(.dither).words(quad: 0)[0]
    let shared = Philox(seed: UInt64(key), purpose: .dither)
    dither = { shared.uniform($0) - 0.5 }
  }

  /// The published magnitudes for variance 1, to seven digits.
  private static let levels: [String: [Float]] = [
    "normal 2": [0.45278, 1.5104176], "laplace 2": [0.4197557, 1.8339693],
    "normal 4": [0.128395, 0.3880483, 0.6567591, 0.9423405, 1.2562312, 1.6180464, 2.0690172, 2.7325896],
    "laplace 4": [0.123986, 0.4048392, 0.7286503, 1.1109841, 1.5777859, 2.1773468, 3.0168582, 4.4310718],
  ]

  private func uniform(_ place: Int) -> Float { Float(word(place) >> 8) / 16_777_216 }
  private func number(_ key: String) -> Int { Int(keys.options[key] ?? "") ?? 0 }
  private var isStochastic: Bool { keys.options["rounding"] == "stochastic" }

  /// What arrives of v; nil if fp32 has no scale for it.
  func arriving(_ v: [Float]) -> [Float]? {
    guard v.allSatisfy(\.isFinite) else { return nil }
    let found: [Float]?
    switch keys.name {
    case "ef-sign":
      let scale = Float(laneSum(v.map { Double($0.magnitude) }) / Double(v.count))
      found = v.map { $0 >= 0 ? scale : -scale }
    case "terngrad":
      let clip = Double(keys.options["clip"] ?? "") ?? 0
      let limit =
        clip == 0 ? .infinity : Float(clip * (laneSum(v.map { Double($0) * Double($0) }) / Double(v.count)).squareRoot())
      found = onGrid(v, scale: min(largest(v), limit), levels: 1) { down($0, $1) }
    case "qsgd": found = onGrid(v, scale: norm(v), levels: number("levels")) { down($0, $1) }
    case "uniform": found = uniformly(v)
    case "nuqsgd":
      let (scale, steps) = (norm(v), number("levels"))
      found = scale.isFinite ? v.indices.map { power(v[$0], scale, steps, $0, true) } : nil
    case "natural", "e3m0":
      let (scale, isRandom) = (powerAbove(largest(v)), keys.name == "natural" || isStochastic)
      found = v.indices.map { power(v[$0], scale, keys.name == "natural" ? 126 : 6, $0, isRandom) }
    case "bf16":
      let isStochastic = isStochastic
      found = v.indices.map { i in
        if !isStochastic { return ChunkReference.rounded(Double(v[i])) }
        let pattern = (v[i].bitPattern + (word(i) & 0xFFFF)) & 0xFFFF_0000
        let most: Float = Float(bitPattern: 0x7F7F_0000)
        return max(-most, min(most, Float(bitPattern: pattern)))
      }
    case "codebook":
      let scale = Float((laneSum(v.map { Double($0) * Double($0) }) / Double(v.count)).squareRoot())
      let levels = ScalarReference.levels["\(keys.options["model"] ?? "") \(number("bits"))"] ?? []
      found = v.map { value in
        guard scale > 0 else { return 0 }
        let share = value.magnitude / scale
        // Of two as near, the smaller one.
        var best = levels[0]
        for (last, next) in zip(levels, levels.dropFirst()) where share > (last + next) / 2 { best = next }
        return (value < 0 ? -1 : 1) * (best * scale)
      }
      if !((levels.last ?? 0) * scale).isFinite { return nil }
    case "fixed-threshold":
      let threshold = Float(keys.options["threshold"] ?? "") ?? 0
      found = v.map { $0 / threshold >= 1 ? threshold : $0 / threshold <= -1 ? -threshold : 0 }
    default: found = halves(v)
    }
    guard let found, found.allSatisfy(\.isFinite) else { return nil }
    return found.map { $0 + 0 }
  }

  /// The integer below, or the one above with the probability of the fraction.
  func down(_ place: Float, _ i: Int) -> Float {
    let below = place.rounded(.down)
    return below + (uniform(i) < place - below ? 1 : 0)
  }

  /// Magnitudes on a grid of `levels` steps.
  func onGrid(_ v: [Float], scale: Float, levels: Int, round: (Float, Int) -> Float) -> [Float]? {
    guard scale.isFinite else { return nil }
    return integers(v, scale: scale, levels: levels, round: round).map { ($0 * (1 / Float(levels))) * scale }
  }

  /// The integers of values on such a grid.
  func integers(_ v: [Float], scale: Float, levels: Int, round: (Float, Int) -> Float) -> [Float] {
    v.indices.map { i in
      guard scale > 0 else { return 0 }
      let integer = round(min(v[i].magnitude / scale * Float(levels), Float(levels)), i)
      return v[i] < 0 ? -integer : integer
    }
  }

  private func uniformly(_ v: [Float]) -> [Float]? {
    let bits = number("bits")
    if keys.options["range"] == "min-max" {
      guard let low = v.min(), let high = v.max() else { return [] }
      let isStochastic = isStochastic, levels = Float((1 << bits) - 1), end = low + (high - low), span = end - low
      guard (high - low).isFinite, end.isFinite else { return nil }
      return v.indices.map { i in
        let place = span > 0 ? min(max((v[i] - low) / span * levels, 0), levels) : 0
        let integer = isStochastic ? down(place, i) : place.rounded(.toNearestOrEven)
        return low + (integer * (1 / levels)) * span
      }
    }
    let levels = (1 << (bits - 1)) - 1, scale = largest(v)
    if keys.options["rounding"] == "dither" {
      guard ((Float(levels) + 1.5) * (1 / Float(levels)) * scale).isFinite else { return nil }
      return v.indices.map { i in
        guard scale > 0 else { return 0 }
        let place = min(max(v[i] / scale * Float(levels) + dither(i), -Float(levels) - 1), Float(levels))
        return ((place.rounded(.toNearestOrEven) - dither(i)) * (1 / Float(levels))) * scale
      }
    }
    let isStochastic = isStochastic
    return onGrid(v, scale: scale, levels: levels) { isStochastic ? down($0, $1) : $0.rounded(.toNearestOrEven) }
  }

  /// The power of two, in units of `scale`, that stands for a value.
  func power(_ value: Float, _ scale: Float, _ steps: Int, _ i: Int, _ isRandom: Bool) -> Float {
    guard scale > 0 else { return 0 }
    let share = min(value.magnitude / scale, 1), sign: Float = value < 0 ? -1 : 1
    let least = Float(sign: .plus, exponent: -steps, significand: 1)
    if share < least {
      let part = share / least
      return (isRandom ? uniform(i) < part : part >= 0.5) ? sign * (least * scale) : 0
    }
    let below = share.binade
    // The fraction of the way to the next power, in 2⁻²³.
    let fraction = share / below - 1
    let up = isRandom ? Float(word(i) >> 9) / 8_388_608 < fraction : fraction >= 0.5
    return sign * ((up ? 2 * below : below) * scale)
  }

  private func halves(_ v: [Float]) -> [Float]? {
    let most = largest(v)
    var exponent = min(14 - Int(most > 0 ? most.exponent : 14), 126)
    if let text = keys.options["scale"], let fixed = Float(text) {
      exponent = Int(fixed.exponent)
      guard most * fixed < 65_520 else { return nil }
    }
    let unit = Float(sign: .plus, exponent: exponent, significand: 1)
    return v.map { value in
      let scaled = value * unit
      // Eleven digits, or multiples of 2⁻²⁴.
      let step = Float(sign: .plus, exponent: max(scaled == 0 ? -100 : Int(scaled.exponent), -14) - 10, significand: 1)
      var half = (scaled / step).rounded(.toNearestOrEven) * step
      if !(half / unit).isFinite { half = half < 0 ? -32_752 : 32_752 }
      return half / unit
    }
  }

  private func norm(_ v: [Float]) -> Float {
    keys.options["norm"] == "max" ? largest(v) : Float(laneSum(v.map { Double($0) * Double($0) }).squareRoot())
  }

  private func largest(_ v: [Float]) -> Float { v.map(\.magnitude).max() ?? 0 }

  private func powerAbove(_ value: Float) -> Float {
    var power: Float = 0x1p127
    while power / 2 >= value, power > 0 { power /= 2 }
    return value == 0 ? 0 : power
  }

  /// Over 32 lanes, combined by halves.
  private func laneSum(_ terms: [Double]) -> Double {
    var lanes = [Double](repeating: 0, count: 32)
    for i in terms.indices { lanes[i % 32] += terms[i] }
    for half in [16, 8, 4, 2, 1] {
      for lane in 0..<half { lanes[lane] += lanes[lane + half] }
    }
    return lanes[0]
  }
}
