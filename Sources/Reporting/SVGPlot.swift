public import Files
internal import Foundation

/// Curves over two axes as an SVG image, which every browser shows and every text editor reads.
public struct SVGPlot: Sendable {
  /// How values are mapped to lengths.
  public enum Scale: Hashable, Sendable {
    /// Equal differences are equal lengths.
    case linear
    /// Equal ratios are equal lengths; ticks at powers of `base`. Values not above 0 are left out.
    case logarithmic(base: Int)

    /// Whether a value can be shown.
    func shows(_ value: Double) -> Bool { value.isFinite && (self == .linear || value > 0) }
  }

  /// An axis: its title and its scale.
  public struct Axis: Sendable {
    /// Its label, with the unit.
    public var title: String
    /// How values are mapped to lengths.
    public var scale: Scale

    /// An axis.
    public init(_ title: String, _ scale: Scale = .linear) {
      self.title = title
      self.scale = scale
    }
  }

  /// A curve.
  public struct Series: Sendable {
    /// Its entry in the legend.
    public var name: String
    /// Its points in the order in which they are joined.
    public var points: [(x: Double, y: Double)]
    /// Whether it is a reference for comparison, drawn in grey dashes without marks.
    public var isReference: Bool
    /// Whether it is dashed, in the colour of the curve before it.
    public var isVariant: Bool

    /// A curve.
    public init(_ name: String, _ points: [(x: Double, y: Double)], isReference: Bool = false, isVariant: Bool = false) {
      self.name = name
      self.points = points
      self.isReference = isReference
      self.isVariant = isVariant
    }
  }

  /// The title above the plot.
  public var title: String
  /// The horizontal axis.
  public var x: Axis
  /// The vertical axis.
  public var y: Axis
  /// The curves, in the order of the legend.
  public var series: [Series]

  /// A plot of these curves.
  public init(title: String, x: Axis, y: Axis, series: [Series]) {
    self.title = title
    self.x = x
    self.y = y
    self.series = series
  }

  // Colours that can be distinguished with colour blindness (Okabe and Ito 2008).
  private static let colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444"]
  private static let height = 540.0
  private static let (left, right, top, bottom) = (80.0, 630.0, 50.0, 470.0)
  /// Room for the longest entry of the legend.
  private var width: Double { SVGPlot.right + 70 + 7.5 * Double(series.map(\.name.count).max() ?? 0) }

  /// The image as the text of an SVG file.
  public var text: String {
    let all = series.flatMap(\.points).filter { x.scale.shows($0.x) && y.scale.shows($0.y) }
    let horizontal = Projection(x.scale, of: all.map(\.x), from: SVGPlot.left, to: SVGPlot.right)
    let vertical = Projection(y.scale, of: all.map(\.y), from: SVGPlot.bottom, to: SVGPlot.top)
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(Int(width))" height="\(Int(SVGPlot.height))" \
      viewBox="0 0 \(Int(width)) \(Int(SVGPlot.height))" font-family="sans-serif" font-size="13">
      """,
      "<title>\(escaped(title))</title>", #"<rect width="100%" height="100%" fill="white"/>"#,
      label(title, at: (SVGPlot.left, 28), anchor: "start", attributes: #" font-size="16" font-weight="bold""#),
    ]
    lines += grid(horizontal, vertical)
    var colour = -1
    for (index, curve) in series.enumerated() {
      if !curve.isReference && (!curve.isVariant || colour < 0) { colour += 1 }
      let stroke = curve.isReference ? "#999999" : SVGPlot.colours[max(0, colour) % SVGPlot.colours.count]
      lines += drawing(of: curve, stroke: stroke, horizontal, vertical)
      lines += legend(of: curve, stroke: stroke, at: index)
    }
    return lines.joined(separator: "\n") + "\n</svg>\n"
  }

  /// Writes the image to a file, replacing its contents.
  public func write(to destination: FileDestination) throws(FileError) { try destination.write(Array(text.utf8)) }

  /// Frame, grid, ticks and titles of the axes.
  private func grid(_ horizontal: Projection, _ vertical: Projection) -> [String] {
    let (left, right, top, bottom) = (SVGPlot.left, SVGPlot.right, SVGPlot.top, SVGPlot.bottom)
    var lines: [String] = []
    for tick in horizontal.ticks {
      let place = horizontal(tick)
      lines.append(line((place, top), (place, bottom), "#dddddd"))
      lines.append(label(name(of: tick), at: (place, bottom + 18), anchor: "middle"))
    }
    for tick in vertical.ticks {
      let place = vertical(tick)
      lines.append(line((left, place), (right, place), "#dddddd"))
      lines.append(label(name(of: tick), at: (left - 8, place + 4), anchor: "end"))
    }
    lines.append(
      """
      <rect x="\(number(left))" y="\(number(top))" width="\(number(right - left))" height="\(number(bottom - top))" fill="none" \
      stroke="#444444"/>
      """)
    lines.append(label(x.title, at: ((left + right) / 2, bottom + 46), anchor: "middle"))
    let middle = (top + bottom) / 2
    lines.append(
      label(y.title, at: (22, middle), anchor: "middle", attributes: #" transform="rotate(-90 22 \#(number(middle)))""#))
    return lines
  }

  private func drawing(of curve: Series, stroke: String, _ horizontal: Projection, _ vertical: Projection) -> [String] {
    let places = curve.points.filter { x.scale.shows($0.x) && y.scale.shows($0.y) }
      .map { (horizontal($0.x), vertical($0.y)) }
    guard !places.isEmpty else { return [] }
    let path = places.map { "\(number($0.0)),\(number($0.1))" }.joined(separator: " ")
    let dash = dashes(of: curve)
    var lines = [#"<polyline points="\#(path)" fill="none" stroke="\#(stroke)" stroke-width="2"\#(dash)/>"#]
    if !curve.isReference {
      lines += places.map {
        #"<circle cx="\#(number($0.0))" cy="\#(number($0.1))" r="3" fill="\#(curve.isVariant ? "white" : stroke)" stroke="\#(stroke)"/>"#
      }
    }
    return lines
  }

  private func legend(of curve: Series, stroke: String, at index: Int) -> [String] {
    let (x, y) = (SVGPlot.right + 16, SVGPlot.top + 12 + 20 * Double(index))
    return [
      line((x, y), (x + 26, y), stroke, " stroke-width=\"2\"\(dashes(of: curve))"),
      label(curve.name, at: (x + 33, y + 4), anchor: "start"),
    ]
  }

  private func dashes(of curve: Series) -> String {
    curve.isReference ? #" stroke-dasharray="2 4""# : curve.isVariant ? #" stroke-dasharray="7 4""# : ""
  }

  private func line(_ a: (Double, Double), _ b: (Double, Double), _ stroke: String, _ attributes: String = "") -> String {
    #"<line x1="\#(number(a.0))" y1="\#(number(a.1))" x2="\#(number(b.0))" y2="\#(number(b.1))" stroke="\#(stroke)"\#(attributes)/>"#
  }

  private func label(_ text: String, at place: (Double, Double), anchor: String, attributes: String = "") -> String {
    #"<text x="\#(number(place.0))" y="\#(number(place.1))" text-anchor="\#(anchor)"\#(attributes)>\#(escaped(text))</text>"#
  }

  /// A length in the image: a tenth of a pixel is enough.
  private func number(_ value: Double) -> String { decimal(value, digits: 1) }

  /// A tick's label, with the digits it needs.
  private func name(of tick: Double) -> String {
    if tick == tick.rounded() && abs(tick) < 1e15 { return String(Int(tick)) }
    for digits in 1...6 where abs(tick * pow(10, Double(digits))).truncatingRemainder(dividingBy: 1) < 1e-6 {
      return decimal(tick, digits: digits)
    }
    return Quantity.significant(tick)
  }

  private func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
      .replacingOccurrences(of: ">", with: "&gt;").replacingOccurrences(of: "\"", with: "&quot;")
  }
}

/// Where the values of an axis lie in the image.
private struct Projection {
  /// The values with a label.
  let ticks: [Double]
  private let scale: SVGPlot.Scale
  private let (low, high): (Double, Double)
  private let (start, end): (Double, Double)

  init(_ scale: SVGPlot.Scale, of values: [Double], from start: Double, to end: Double) {
    (self.scale, self.start, self.end) = (scale, start, end)
    switch scale {
    case .linear:
      let (least, most) = (min(values.min() ?? 0, 0), max(values.max() ?? 1, 0))
      let step = Projection.step(for: most > least ? most - least : 1)
      let (first, last) = (Int((least / step).rounded(.down)), Int((most / step).rounded(.up)))
      (low, high) = (Double(first) * step, Double(max(last, first + 1)) * step)
      ticks = (first...max(last, first + 1)).map { Double($0) * step }
    case .logarithmic(let base):
      let unit = log(Double(base))
      let least = (log(values.min() ?? 1) / unit + 1e-9).rounded(.down)
      let most = max((log(values.max() ?? 1) / unit - 1e-9).rounded(.up), least + 1)
      (low, high) = (least, most)
      let stride = max(1, Int((most - least) / 14).advanced(by: 1))
      ticks = Swift.stride(from: Int(least), through: Int(most), by: stride).map { pow(Double(base), Double($0)) }
    }
  }

  func callAsFunction(_ value: Double) -> Double {
    var place = value
    if case .logarithmic(let base) = scale { place = log(value) / log(Double(base)) }
    return start + (place - low) / (high - low) * (end - start)
  }

  /// 1, 2 or 5 times a power of ten, so that about six steps fit.
  private static func step(for span: Double) -> Double {
    let power = pow(10, log10(span / 6).rounded(.down))
    return power * ([1, 2, 5, 10].first { $0 * power >= span / 6.0001 } ?? 10)
  }
}
