import PointToPoint

/// Descent in pairs as the paper's algorithm says, one event after another on plain arrays: nothing of the library computes here.
struct ReferencePairs {
  /// The models, and what each worker read when it began its minibatch.
  var models: [[Float]]
  private var read: [[Float]]

  init(_ models: [[Float]]) { (self.models, read) = (models, models) }

  /// All workers begin anew after a meeting.
  mutating func begin() { read = models }

  /// Averages, applies the gradient of the values that were read, and reads again.
  mutating func apply(_ event: PairEvent, _ gradient: (_ values: [Float]) -> [Float]) {
    let (worker, change) = (event.worker, gradient(read[event.worker]))
    if let partner = event.partner {
      let mean = zip(models[worker], models[partner]).map { ($0 + $1) / 2 }
      (models[worker], models[partner]) = (mean, mean)
    }
    models[worker] = zip(models[worker], change).map { $0 - $1 }
    read[worker] = models[worker]
  }

  /// The mean of the models.
  var mean: [Float] {
    models[0].indices.map { place in Float(models.reduce(0.0) { $0 + Double($1[place]) } / Double(models.count)) }
  }

  /// The mean of ‖x_i − x̄‖².
  var distance: Double {
    let mean = mean
    return models.map { zip($0, mean).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) } }.reduce(0, +)
      / Double(models.count)
  }
}
