/// Trace events as bytes, one per line; formatted by hand, because a rank writes thousands per second.
extension [UInt8] {
  /// Appends a span from `start` to `end`, in nanoseconds.
  mutating func appendSpan(
    _ category: StaticString, start: Int, end: Int, process: [UInt8], thread: Int, name: (inout [UInt8]) -> Void,
    arguments: ((inout [UInt8]) -> Void)? = nil
  ) {
    append("{\"name\":\"")
    name(&self)
    append("\",\"cat\":\"")
    append(category)
    append("\",\"ph\":\"X\",\"ts\":")
    append(microseconds: start)
    append(",\"dur\":")
    append(microseconds: end - start)
    append(contentsOf: process)
    append(number: thread)
    if let arguments {
      append(",\"args\":{")
      arguments(&self)
      append("}")
    }
    append("},\n")
  }

  /// Appends the beginning of a span, which lasts until an end.
  mutating func appendBegin(_ name: String, number: Int?, category: String, at time: Int, process: [UInt8]) {
    append("{\"name\":\"")
    append(contentsOf: name.utf8)
    if let number {
      append(" ")
      append(number: number)
    }
    append("\",\"cat\":\"")
    append(contentsOf: category.utf8)
    append("\",\"ph\":\"B\",\"ts\":")
    append(microseconds: time)
    append(contentsOf: process)
    append("0},\n")
  }

  /// Appends the end of the span that began last.
  mutating func appendEnd(at time: Int, process: [UInt8]) {
    append("{\"ph\":\"E\",\"ts\":")
    append(microseconds: time)
    append(contentsOf: process)
    append("0},\n")
  }

  /// Appends text.
  mutating func append(_ text: StaticString) {
    append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// Appends an integer.
  mutating func append(number: Int) {
    if number < 0 { append(UInt8(ascii: "-")) }
    let magnitude = number.magnitude
    var unit: UInt = 1
    while magnitude / unit >= 10 { unit *= 10 }
    while unit > 0 {
      append(UInt8(ascii: "0") + UInt8(magnitude / unit % 10))
      unit /= 10
    }
  }

  /// Appends nanoseconds as microseconds with three decimals.
  package mutating func append(microseconds nanoseconds: Int) {
    if nanoseconds < 0 { append(UInt8(ascii: "-")) }
    let (whole, part) = nanoseconds.magnitude.quotientAndRemainder(dividingBy: 1000)
    append(number: Int(whole))
    append(UInt8(ascii: "."))
    append(UInt8(ascii: "0") + UInt8(part / 100))
    append(UInt8(ascii: "0") + UInt8(part / 10 % 10))
    append(UInt8(ascii: "0") + UInt8(part % 10))
  }
}
