/// After which epochs the training samples get new labels from the model: `2`, `1,3` or `every:2`.
public enum RealignmentEpochs: Codable, Hashable, Sendable {
  /// After these, counted from 1, in rising order.
  case after([Int])
  /// After each that the number divides.
  case every(Int)

  /// Whether labels are made anew once so many epochs are done.
  public func contains(_ epoch: Int) -> Bool {
    switch self {
    case .after(let epochs): epochs.contains(epoch)
    case .every(let interval): epoch > 0 && epoch % interval == 0
    }
  }

  /// The first of them; nil of none.
  var first: Int? {
    switch self {
    case .after(let epochs): epochs.first
    case .every(let interval): interval
    }
  }
}

extension RealignmentEpochs: OptionValue {
  init?(optionText: String) {
    let prefix = "every:"
    if optionText.hasPrefix(prefix) {
      guard let interval = Int(optionText.dropFirst(prefix.count)), interval > 0 else { return nil }
      self = .every(interval)
      return
    }
    let parts = optionText.split(separator: ",", omittingEmptySubsequences: false)
    let epochs = parts.compactMap { Int($0) }
    guard epochs.count == parts.count, epochs[0] > 0, zip(epochs, epochs.dropFirst()).allSatisfy({ $0 < $1 }) else {
      return nil
    }
    self = .after(epochs)
  }

  var optionText: String? {
    switch self {
    case .after(let epochs): epochs.map(String.init).joined(separator: ",")
    case .every(let interval): "every:\(interval)"
    }
  }

  static var expectation: String { "epochs in rising order, such as 2 or 1,3, or every:2" }
}
