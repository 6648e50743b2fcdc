internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
import Transport

/// Checks whether gradients from files can be exchanged; all ranks agree on the result.
struct GradientCheck {
  private let file: NumpyFile
  private let path: String
  private let codec: any Codec
  private let hosts: HostMap
  private var world: Communicator { hosts.world }

  /// A check of what this rank read from `path`.
  init(_ file: NumpyFile, path: String, codec: any Codec, hosts: HostMap) {
    (self.file, self.path, self.codec, self.hosts) = (file, path, codec, hosts)
  }

  /// Throws `UnusableGradients` on all ranks if shapes differ or a value is not finite.
  ///
  /// Collective.
  func check() throws {
    let shapes = try texts("\(file.shape)")
    guard Set(shapes).count == 1 else {
      throw UnusableGradients("the gradients of the ranks have different shapes: \(shapes.joined(separator: ", "))")
    }
    let place = file.values.values.firstIndex { !$0.isFinite }
    try agree(place.map { GradientCheck.whatIsNotFinite($0..<$0 + 1, of: file.values, path: path) })
  }

  /// Throws `UnusableGradients` on all ranks if an exchange, which only counts this, met sums beyond fp32.
  ///
  /// Collective.
  func check(_ sum: FloatBuffer, of exchange: CodedAllReduce) throws {
    let isBeyond = exchange.nonFiniteGroups > 0 || !sum.values.allSatisfy(\.isFinite)
    guard try texts(isBeyond ? "beyond" : "").contains("beyond") else { return }
    try agree(ownGroup.map { GradientCheck.whatIsNotFinite($0, of: file.values, path: path) })
    var total = file.values.values.map(Double.init)
    try hosts.enter(GradientCheck.activity) { try world.allReduce(&total, .sum) }
    let place = total.firstIndex { $0.magnitude > Double(Float.greatestFiniteMagnitude) }
    let what = place.map { "value \($0) is \(total[$0])" } ?? "the values of a group add up to more"
    throw UnusableGradients("the sum of the gradients of \(world.count) ranks is beyond fp32 (\(what)); scale them down")
  }

  /// The first group of this rank's own values that the codec refuses.
  private var ownGroup: Range<Int>? {
    let groups = codec.grouping.groups(of: TensorLayout([("gradient", file.shape.isEmpty ? [1] : file.shape)]))
    let longest = groups.map(\.count).max() ?? 0
    let coder = GroupCoder(codec, count: longest)
    let code = ByteBuffer(count: groups.map { codec.encodedByteCount(of: $0.count) }.max() ?? 0)
    return groups.first { group in
      coder.clear()
      coder.encode(
        file.values.baseAddress + group.lowerBound, at: 0, count: group.count, into: code.baseAddress,
        context: EncodingContext())
      return coder.nonFiniteGroups > 0
    }
  }

  /// Why a codec refuses the values of `group`: one of them, or their sum, is not finite.
  static func whatIsNotFinite(_ group: Range<Int>, of values: FloatBuffer, path: String) -> String {
    if let place = group.first(where: { !values[$0].isFinite }) {
      return "'\(path)': value \(place) is \(values[place]); a codec takes finite values"
    }
    return "'\(path)': the sum of the values \(group) is beyond fp32"
  }

  /// Throws the message of the lowest rank that has one.
  private func agree(_ sentence: String?) throws {
    if let first = try texts(sentence ?? "").first(where: { !$0.isEmpty }) { throw UnusableGradients(first) }
  }

  private static let activity = "the check of gradients"

  private func texts(_ own: String) throws -> [String] {
    try hosts.enter(GradientCheck.activity) { try world.allGather(varying: Array(own.utf8)) }.map {
      String(decoding: $0, as: UTF8.self)
    }
  }
}

/// What is wrong with gradients from files, the same on all ranks.
struct UnusableGradients: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
