internal import Foundation

/// Times and rates in readable form.
package enum Quantity {
  /// Seconds of `0.118ms`, `50us`, `2 s`; a number alone is seconds.
  ///
  /// Nil if it is not a time of at least 0.
  package static func seconds(_ text: String) -> Double? {
    value(of: text, units: [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1), ("", 1)])
  }

  /// Bits per second of `100mbit`, `40gbit`, `1.25GB/s`; the unit is required.
  ///
  /// Nil if it is not a rate above 0.
  package static func bitsPerSecond(_ text: String) -> Double? {
    let units: [(String, Double)] = [
      ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9), ("tbit", 1e12), ("kbit/s", 1e3), ("mbit/s", 1e6), ("gbit/s", 1e9),
      ("tbit/s", 1e12), ("kb/s", 8e3), ("mb/s", 8e6), ("gb/s", 8e9),
    ]
    guard let rate = value(of: text.lowercased(), units: units), rate > 0 else { return nil }
    return rate
  }

  private static func value(of text: String, units: [(name: String, factor: Double)]) -> Double? {
    let number = text.prefix { $0.isASCII && ($0.isNumber || ".eE+-".contains($0)) }
    let unit = text.dropFirst(number.count).drop { $0 == " " }
    guard let factor = units.first(where: { $0.name == unit })?.factor, let value = Double(String(number)) else { return nil }
    let product = value * factor
    return product.isFinite && product >= 0 ? product : nil
  }

  /// A time with three digits and a suitable unit: `14.3 ms`, `196 µs`.
  package static func text(ofSeconds seconds: Double) -> String {
    guard seconds.isFinite, seconds > 0 else { return seconds == 0 ? "0" : seconds.description }
    for (unit, factor) in [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)] where seconds >= 0.9995 * factor {
      return significant(seconds / factor) + " " + unit
    }
    return significant(seconds / 1e-9) + " ns"
  }

  /// A rate with three digits: `100 Mbit/s`.
  package static func text(ofBitsPerSecond rate: Double) -> String {
    for (unit, factor) in [("Tbit/s", 1e12), ("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)] where rate >= 0.9995 * factor {
      return significant(rate / factor) + " " + unit
    }
    return significant(rate) + " bit/s"
  }

  /// A number with three significant digits, whole if it has more: `0.224`, `69.6`, `976`, `16384`.
  package static func significant(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return value == 0 ? "0" : value.description }
    let magnitude = Int(log10(abs(value) * 1.0005).rounded(.down))
    return decimal(value, digits: min(max(2 - magnitude, 0), 9))
  }
}
