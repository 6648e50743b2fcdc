/// Numbers in readable form.

/// A number with a fixed number of decimals, as in the C locale: `0.125`.
public func decimal(_ value: Double, digits: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return value.description }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  // Beyond 2⁵³ there are no decimals left to print.
  guard scaled < 0x1p53 else { return value.description }
  let sign = value < 0 && scaled > 0 ? "-" : ""
  let whole = UInt64(scaled)
  let unit = UInt64(scale)
  guard digits > 0 else { return sign + String(whole) }
  let fraction = String(whole % unit)
  return sign + String(whole / unit) + "." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// A number with the given number of significant digits, without a prefix: `0.0618`, `25.6`, `256`.
public func significant(_ value: Double, digits: Int) -> String {
  guard value.isFinite, value != 0 else { return value == 0 ? "0" : value.description }
  var (magnitude, places) = (abs(value), digits - 1)
  while magnitude >= 10 && places > 0 {
    magnitude /= 10
    places -= 1
  }
  while magnitude < 1 && places < 300 {
    magnitude *= 10
    places += 1
  }
  guard places <= 12 else { return value.description }
  var text = decimal(value, digits: places)
  if text.contains(".") { while text.last == "0" { text.removeLast() } }
  if text.last == "." { text.removeLast() }
  return text
}

/// A number with three digits and a decimal prefix: `43.1 k`, `2.68 M`.
///
/// A number below 1000, without a prefix, ends in a space too, so that a unit can follow: `967 B`.
public func withPrefix(_ value: Double) -> String {
  guard value.isFinite else { return value.description + " " }
  var (value, prefix) = (value, "")
  for next in ["k", "M", "G", "T", "P"] where abs(value) >= 999.5 {
    value /= 1000
    prefix = next
  }
  let digits = prefix.isEmpty || abs(value) >= 99.95 ? 0 : abs(value) >= 9.995 ? 1 : 2
  return decimal(value, digits: digits) + " " + prefix
}

/// A duration in readable form: `4.2 s`, `1 min 05 s`, `2 h 03 min`.
public func duration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "?" }
  if seconds < 9.95 { return decimal(seconds, digits: 1) + " s" }
  let whole = Int(seconds.rounded())
  if whole < 60 { return "\(whole) s" }
  func two(_ number: Int) -> String { number < 10 ? "0\(number)" : String(number) }
  if whole < 3600 { return "\(whole / 60) min \(two(whole % 60)) s" }
  return "\(whole / 3600) h \(two(whole % 3600 / 60)) min"
}

/// A hash as 16 hexadecimal digits.
package func hexadecimal(_ hash: UInt64) -> String {
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

/// A number with its noun: `1 rank`, `8 ranks`.
package func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
