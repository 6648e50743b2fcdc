internal import Buffers
internal import Kernels

#if canImport(Glibc)
  internal import Glibc
#endif

/// Replaces logits, rows × classes, with scale · (softmax − one-hot), the gradient of the cross-entropy.
///
/// - Returns: Σ −log p(label), and the number of rows whose largest logit is the label's.
func softmaxGradient(
  _ logits: UnsafeMutablePointer<Float>, labels: [Int32], rowCount: Int, classCount: Int, scale: Float
) -> (lossSum: Double, correct: Int) {
  var lossSum = 0.0
  var correct = 0
  for rowIndex in 0..<rowCount {
    let row = logits + rowIndex * classCount
    let label = checkedLabel(labels[rowIndex], classCount)
    let (maximum, best) = largest(row, classCount)
    let labelLogit = row[label]
    let sum = exponentialSum(row, classCount, maximum, storingInto: row)
    lossSum += log(Double(sum)) + Double(maximum - labelLogit)
    if best == label && sum.isFinite { correct += 1 }
    let factor = scale / sum
    for index in 0..<classCount { row[index] *= factor }
    row[label] -= scale
  }
  return (lossSum, correct)
}

/// The cross-entropy of logits, rows × classes, and the log softmax of each row if requested.
///
/// - Returns: Σ −log p(label), and the number of rows whose largest logit is the label's.
func softmaxLoss(
  _ logits: UnsafePointer<Float>, labels: [Int32], rowCount: Int, classCount: Int, logPosteriors: UnsafeMutablePointer<Float>?
) -> (lossSum: Double, correct: Int) {
  var lossSum = 0.0
  var correct = 0
  for rowIndex in 0..<rowCount {
    let row = logits + rowIndex * classCount
    let label = checkedLabel(labels[rowIndex], classCount)
    let (maximum, best) = largest(row, classCount)
    let sum = exponentialSum(row, classCount, maximum, storingInto: nil)
    let logSum = log(Double(sum))
    lossSum += logSum + Double(maximum - row[label])
    if best == label && sum.isFinite { correct += 1 }
    if let logPosteriors = logPosteriors {
      let posteriors = logPosteriors + rowIndex * classCount
      for index in 0..<classCount { posteriors[index] = Float(Double(row[index] - maximum) - logSum) }
    }
  }
  return (lossSum, correct)
}

private func checkedLabel(_ label: Int32, _ classCount: Int) -> Int {
  require(label >= 0 && Int(label) < classCount, "a sample of class \(label), of \(classCount) classes")
  return Int(label)
}

/// The first of the largest values of a row, and its index; if a value is NaN, the result is meaningless but harmless.
private func largest(_ row: UnsafePointer<Float>, _ count: Int) -> (maximum: Float, index: Int) {
  var maximum = row[0]
  var best = 0
  for index in 1..<count where row[index] > maximum {
    maximum = row[index]
    best = index
  }
  return (maximum, best)
}

/// Σ e^(value − maximum) over a row, summed by lanes; the terms are stored in `terms`, if given, which may be the row.
///
/// From 1 to `count` if all values are finite, else NaN: an infinite maximum minus itself is NaN, and so is its term.
func exponentialSum(
  _ row: UnsafePointer<Float>, _ count: Int, _ maximum: Float, storingInto terms: UnsafeMutablePointer<Float>?
) -> Float {
  if let sum = exponentialSum(row, count: count, maximum: maximum, storingInto: terms) { return sum }
  var sums = Lanes.zero
  var index = 0
  while index < count {
    let lanes = min(16, count - index)
    // Padding far below the maximum contributes nothing, unless the maximum itself is not finite.
    let values = lanes == 16 ? Lanes(at: row + index) : Lanes(at: row + index, count: lanes, padding: -.infinity)
    let exponentials = exponential(values - maximum)
    sums += exponentials
    if let terms = terms { exponentials.store(at: terms + index, count: lanes) }
    index += 16
  }
  return sums.total
}
