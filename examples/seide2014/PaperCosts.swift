import Laboratory

/// The costs of a minibatch in the paper: 46 million parameters on K20Xm GPUs, with momentum and AdaGrad (its Table 1).
enum PaperCosts {
  /// T_frm: the gradient of a frame, in large sub-batches.
  static let frame = 118e-6
  /// C · T_post: passes over the gradient, which ranks share.
  static let post = 9.2e-3
  /// T_upd: the update of the model, on every rank.
  static let update = 9e-3

  /// The computing time of a rank per minibatch, in seconds; with double buffering, in both halves.
  ///
  /// - Parameters:
  ///   - minibatch: N.
  ///   - ranks: K, over which the samples are divided.
  ///   - slices: P, the number of slices of the model.
  ///   - frame: The cost of a frame on one device.
  static func computation(
    minibatch: Int, ranks: Int, slices: Int = 1, isDoubleBuffered: Bool, frame: Double = PaperCosts.frame
  ) -> Double {
    let perExchange = (post / Double(ranks) + update) / Double(slices)
    return Double(minibatch) * frame / Double(ranks * slices) + (isDoubleBuffered ? 2 : 1) * perExchange
  }
}
