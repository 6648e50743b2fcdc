internal import Buffers

/// The outer step: what becomes of the mean pseudo-gradient Ψ̄ = Σ p_i(θ − x_i) of a round, one value at a time.
///
/// With the outer rate α and the outer momentum μ, v ← μv + Ψ̄ and θ ← θ − s with
///
///     none         s = αΨ̄                         (no v)
///     heavy-ball   s = αv
///     nesterov     s = α(Ψ̄ + μv)
///     lion         s = α·sign(μv + (1 − μ)Ψ̄), and then v ← 0.99v + 0.01Ψ̄ instead
///
/// Each product and sum is rounded separately, in fp32. A constant Ψ̄ moves the model by α/(1 − μ) of it in the end (`gain`).
/// Source: frontier F1.1 and F1.2; Douillard et al. 2023; algorithms §9.3.
package struct OuterRule: Hashable, Sendable {
  /// How the momentum acts.
  package enum Style: String, CaseIterable, Hashable, Sendable {
    case nesterov, lion, none
    case heavyBall = "heavy-ball"
  }

  package var style = Style.nesterov
  /// α.
  package var rate: Float = 0.7
  /// μ.
  package var momentum: Float = 0.5
  /// What Lion keeps of v.
  static let kept: Float = 0.99

  /// An outer step.
  package init(_ style: Style = .nesterov, rate: Float = 0.7, momentum: Float = 0.5) {
    (self.style, self.rate, self.momentum) = (style, rate, momentum)
  }

  /// Whether there is a v.
  package var remembers: Bool { style == .lion || (style != .none && momentum > 0) }

  /// Whether s is Ψ̄ itself.
  package var isIdentity: Bool { !remembers && style != .lion && rate == 1 }

  /// By how much a constant Ψ̄ moves the model in a round in the end, in units of Ψ̄; Lion's step has its own length.
  package var gain: Double? {
    switch style {
    case .none: Double(rate)
    case .lion: nil
    case .nesterov, .heavyBall: Double(rate) / (1 - Double(momentum))
    }
  }

  /// Replaces Ψ̄ in `values` by s; `velocity` is v at the same places, nil without one.
  ///
  /// - Parameter share: What the schedule leaves of Lion's α in this round.
  package func step(
    _ values: UnsafeMutablePointer<Float>, _ velocity: UnsafeMutablePointer<Float>?, count: Int, share: Float = 1
  ) {
    guard let v = velocity else {
      if rate != 1 { for i in 0..<count { values[i] *= rate } }
      return
    }
    switch style {
    case .none: require(false, "an outer step without momentum has no velocity")
    case .heavyBall:
      for i in 0..<count {
        v[i] = momentum * v[i] + values[i]
        values[i] = rate * v[i]
      }
    case .nesterov:
      for i in 0..<count {
        v[i] = momentum * v[i] + values[i]
        values[i] = rate * (values[i] + momentum * v[i])
      }
    case .lion:
      let (length, new) = (rate * share, 1 - momentum)
      for i in 0..<count {
        let (value, direction) = (values[i], momentum * v[i] + new * values[i])
        values[i] = direction > 0 ? length : direction < 0 ? -length : 0
        v[i] = OuterRule.kept * v[i] + (1 - OuterRule.kept) * value
      }
    }
  }
}
