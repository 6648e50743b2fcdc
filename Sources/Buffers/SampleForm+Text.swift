extension SampleForm {
  /// The largest number of values of a sample that a text gives.
  private static let inputLimit = 1 << 28

  /// The form that `text` gives: `784`, `32x32x3` (height, width and channels of an image), or `text:128` for as many tokens.
  ///
  /// A square number of values is an image of one channel.
  ///
  /// - Throws: `SpecificationError` that begins with `option`.
  public init(_ text: String, classCount: Int, option: String) throws(SpecificationError) {
    func sizes(_ text: some StringProtocol) -> [Int]? {
      let sizes = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
      var product = 1
      for size in sizes {
        let (next, overflow) = product.multipliedReportingOverflow(by: size)
        guard size > 0, !overflow, next <= SampleForm.inputLimit else { return nil }
        product = next
      }
      return sizes
    }
    if text.hasPrefix("text:"), let context = sizes(text.dropFirst(5)), context.count == 1 {
      self.init(inputCount: context[0], classCount: classCount, kind: .tokens)
      return
    }
    guard let axes = sizes(text), axes.count == 1 || axes.count == 3 else {
      throw SpecificationError(
        "\(option) is a number of values such as 784, an image such as 32x32x3, or a text such as text:128, not '\(text)'")
    }
    var shape: SampleShape?
    if axes.count == 3 {
      shape = SampleShape(height: axes[0], width: axes[1], channels: axes[2])
    } else {
      let side = Int(Double(axes[0]).squareRoot())
      if side * side == axes[0] { shape = SampleShape(height: side, width: side, channels: 1) }
    }
    self.init(inputCount: axes.reduce(1, *), classCount: classCount, kind: shape.map(Kind.image) ?? .values)
  }
}
