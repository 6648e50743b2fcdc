internal import Buffers
internal import Codecs

/// Decides whether a rank's gradient is worth an upload.
///
/// - Source: algorithms §10.8.
protocol UploadRule: AnyObject {
  /// The square of how far the gradient is from what owners have, if it is worth an upload at `threshold`; written so that values
  /// that are not finite are.
  func judge(_ gradient: FloatBuffer, threshold: Double) -> (isNews: Bool, distance: Double)
  /// The gradient is uploaded, and owners then have it, or what a code says of it.
  func noteUpload()
  /// Where the gradient of the same samples is also wanted.
  var secondPoint: SecondPoint? { get }
  func contribute(to inventory: inout StateInventory)
}

extension UploadRule {
  var secondPoint: SecondPoint? { nil }
  func contribute(to inventory: inout StateInventory) {}
}

extension LazySettings {
  /// The rule of `rank` of `rankCount`, whose last upload is in `held`.
  func makeRule(held: FloatBuffer, model: FloatBuffer, rank: Int, of rankCount: Int) throws(SpecificationError)
    -> any UploadRule
  {
    switch rule {
    case .worker:
      if let grid { GridChangeRule(grid, held: held) } else { GradientChangeRule(held: held) }
    case .server:
      ModelChangeRule(held: held, model: model, smoothness: try smoothness(of: rank, among: rankCount))
    case .sameMinibatch: SameMinibatchRule(model: model)
    }
  }
}

/// LAG-WK: ‖g − ĝ‖² > R, ĝ being the last upload.
private final class GradientChangeRule: UploadRule {
  private let held: FloatBuffer

  init(held: FloatBuffer) { self.held = held }

  func judge(_ gradient: FloatBuffer, threshold: Double) -> (isNews: Bool, distance: Double) {
    let distance = squaredDistance(gradient, held)
    return (!(distance <= threshold), distance)
  }

  func noteUpload() {}
}

/// LAQ: ‖q′ − q‖² > R + 3(‖ε′‖² + ‖ε‖²), where q′ is what owners would know after an upload, and ε what they would not.
///
/// Source: Sun et al. 2019, "Lazily aggregated quantized gradients", equation 7a.
private final class GridChangeRule: UploadRule {
  private let grid: DifferenceGrid
  private let held: FloatBuffer
  /// ‖ε′‖² of this exchange.
  private var error: Float = 0
  /// ‖ε‖² of the last upload.
  private let kept = FloatBuffer(count: 1)

  init(_ grid: DifferenceGrid, held: FloatBuffer) { (self.grid, self.held) = (grid, held) }

  func judge(_ gradient: FloatBuffer, threshold: Double) -> (isNews: Bool, distance: Double) {
    let (g, q, count) = (gradient.baseAddress, held.baseAddress, gradient.count)
    let radius = grid.radius(of: g, from: q, count: count)
    let (change, left) = grid.preview(of: g, from: q, count: count, radius: radius)
    error = Float(left)
    return (!(change <= threshold + 3 * (Double(error) + Double(kept[0]))), squaredDistance(gradient, held))
  }

  func noteUpload() { kept[0] = error }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("lazyError", .local, of: kept))
  }
}

/// LAG-PS: L²‖θ̂ − θ‖² > R, where θ̂ is the model of the last upload and L the smoothness of the rank's loss.
///
/// Of the paper's server, every rank plays its own part: all have the model, so that no request is sent. If L is not known, the
/// largest ‖g − ĝ‖/‖θ − θ̂‖ so far takes its place, which is below it.
private final class ModelChangeRule: UploadRule {
  private let held: FloatBuffer
  private let model: FloatBuffer
  private let old: FloatBuffer
  private let smoothness: Double?
  /// The estimate of L².
  private let estimate = FloatBuffer(count: 1)

  init(held: FloatBuffer, model: FloatBuffer, smoothness: Double?) {
    (self.held, self.model, self.smoothness) = (held, model, smoothness)
    old = FloatBuffer(count: model.count)
  }

  func judge(_ gradient: FloatBuffer, threshold: Double) -> (isNews: Bool, distance: Double) {
    let (moved, distance) = (squaredDistance(model, old), squaredDistance(gradient, held))
    if smoothness == nil && moved > 0 { estimate[0] = max(estimate[0], Float(distance / moved)) }
    let square = smoothness.map { $0 * $0 } ?? Double(estimate[0])
    return (!(square * moved <= threshold), distance)
  }

  func noteUpload() { old.copy(from: model) }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("lazyOldModel", .local, of: old), SavedTensor("lazySmoothness", .local, of: estimate)]
  }
}

/// LASG-WK2: ‖∇ℓ(θ; b) − ∇ℓ(θ̂; b)‖² > R, where b is the minibatch of this step and θ̂ the model of the last upload.
///
/// The noise of b is in both gradients, and does not count.
///
/// Source: Chen et al. 2020, "LASG: Lazily aggregated stochastic gradients", equation 9.
/// - Cost: a second gradient in each step, at a model that is kept.
private final class SameMinibatchRule: UploadRule {
  private let model: FloatBuffer
  private let second: SecondPoint

  init(model: FloatBuffer) {
    self.model = model
    second = SecondPoint(model: FloatBuffer(count: model.count), gradient: FloatBuffer(count: model.count))
  }

  var secondPoint: SecondPoint? { second }

  func judge(_ gradient: FloatBuffer, threshold: Double) -> (isNews: Bool, distance: Double) {
    let distance = squaredDistance(gradient, second.gradient)
    return (!(distance <= threshold), distance)
  }

  func noteUpload() { second.model.copy(from: model) }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("lazyOldModel", .local, of: second.model))
  }
}
