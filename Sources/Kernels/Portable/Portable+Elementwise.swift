extension Portable {
  /// values = values + other.
  static func add(_ other: UnsafePointer<Float>, _ count: Int, _ values: UnsafeMutablePointer<Float>) {
    for i in 0..<count { values[i] += other[i] }
  }

  /// values = terms[0] + terms[1] + … in this order.
  static func sum(
    _ terms: UnsafePointer<UnsafePointer<Float>>, _ termCount: Int, _ count: Int, _ values: UnsafeMutablePointer<Float>
  ) {
    let whole = count / 32 * 32
    for start in stride(from: 0, to: whole, by: 32) {
      var total = load(terms[0] + start)
      for k in stride(from: 1, to: termCount, by: 1) { total = total + load(terms[k] + start) }
      store(total, to: values + start)
    }
    for i in whole..<count {
      var total = terms[0][i]
      for k in stride(from: 1, to: termCount, by: 1) { total += terms[k][i] }
      values[i] = total
    }
  }

  /// One step of gradient descent, as in ``sgdUpdate(weights:gradient:momenta:count:step:)``.
  static func descend(
    _ weights: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>, _ momenta: UnsafeMutablePointer<Float>?,
    _ count: Int, _ step: DescentStep
  ) {
    let (rate, momentum, gain, decay) = (step.rate, step.momentum, step.gain, step.decay)
    // Whole vectors first, then the same for single values.
    let whole = count / 16 * 16
    for i in stride(from: 0, to: whole, by: 16) {
      let w = UnsafeRawPointer(weights + i).loadUnaligned(as: Half.self)
      var y = UnsafeRawPointer(gradient + i).loadUnaligned(as: Half.self)
      if decay != 0 { y = y + decay * w }
      if let momenta {
        let gained = gain * y
        let u = momentum * UnsafeRawPointer(momenta + i).loadUnaligned(as: Half.self) + gained
        UnsafeMutableRawPointer(momenta + i).storeBytes(of: u, as: Half.self)
        y = step.isNesterov ? gained + momentum * u : u
      }
      UnsafeMutableRawPointer(weights + i).storeBytes(of: w - rate * y, as: Half.self)
    }
    for i in whole..<count {
      var y = gradient[i]
      if decay != 0 { y = y + decay * weights[i] }
      if let momenta {
        let gained = gain * y
        let u = momentum * momenta[i] + gained
        momenta[i] = u
        y = step.isNesterov ? gained + momentum * u : u
      }
      weights[i] = weights[i] - rate * y
    }
  }

  /// The bit pattern of the largest magnitude.
  static func largestMagnitude(_ values: UnsafePointer<Float>, _ count: Int) -> UInt32 {
    var largest: UInt32 = 0
    for i in 0..<count { largest = max(largest, values[i].bitPattern & 0x7FFF_FFFF) }
    return largest
  }

  /// The inner product of `a` and `b` over 32 lanes.
  static func innerProduct(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
    var lanes = Lanes()
    for start in stride(from: 0, to: count, by: 32) {
      let isWhole = start + 32 <= count
      let x = isWhole ? load(a + start) : loadPartially(a + start, count: count - start)
      let y = isWhole ? load(b + start) : loadPartially(b + start, count: count - start)
      lanes = lanes + Lanes(low: x.low * y.low, high: x.high * y.high)
    }
    return lanes.sum
  }

  /// The sum of squares in fp64 over 32 lanes, combined by halves.
  static func sumOfSquares(_ values: UnsafePointer<Float>, _ count: Int) -> Double {
    var (low, high) = (SIMD16<Double>.zero, SIMD16<Double>.zero)
    for start in stride(from: 0, to: count, by: 32) {
      let x = start + 32 <= count ? load(values + start) : loadPartially(values + start, count: count - start)
      let (a, b) = (SIMD16<Double>(x.low), SIMD16<Double>(x.high))
      low += a * a
      high += b * b
    }
    let sixteen = low + high
    let eight = sixteen.lowHalf + sixteen.highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
  }
}
