/// The epochs after which the model relabels the training samples: `2`, `1,3` or `every:2`.
public enum RealignmentEpochs: Codable, Hashable, Sendable {
  /// After the given epochs, counted from 1, in ascending order.
  case after([Int])
  /// After every epoch that is a multiple of the number.
  case every(Int)

  /// Whether samples are relabelled after the given number of epochs.
  public func contains(_ epoch: Int) -> Bool {
    switch self {
    case .after(let epochs): epochs.contains(epoch)
    case .every(let interval): epoch > 0 && epoch % interval == 0
    }
  }

  /// The first of these epochs; nil if there are none.
  package var first: Int? {
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
