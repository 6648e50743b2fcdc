import Datasets
import Foundation
import Laboratory

/// Training samples held out for choices, so that nothing is chosen on test samples: the last sixth of them.
enum HeldOut {
  /// Writes a folder of four files with the split; returns its specification.
  ///
  /// Its training samples are the first five sixths of those of `source`, and its test samples are the others.
  static func specification(of source: String, in results: String) throws -> String {
    let folder = "\(results)/held-out"
    let (images, labels): (IDXFile, IDXFile)
    do {
      images = try IDXFile("train-images-idx3-ubyte", in: source, dimensionCount: 3)
      labels = try IDXFile("train-labels-idx1-ubyte", in: source, dimensionCount: 1)
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let kept = images.shape[0] * 5 / 6
      for (part, range) in [("train", 0..<kept), ("t10k", kept..<images.shape[0])] {
        try images.part(range).write(to: URL(fileURLWithPath: "\(folder)/\(part)-images-idx3-ubyte"))
        try labels.part(range).write(to: URL(fileURLWithPath: "\(folder)/\(part)-labels-idx1-ubyte"))
      }
    } catch let error as DataError { throw Failure("\(error)") } catch {
      throw Failure("\(folder) cannot be written: \(error.localizedDescription)")
    }
    return "idx:\(folder)"
  }
}

extension IDXFile {
  /// A file with a range of the samples of this one.
  fileprivate func part(_ range: Range<Int>) -> Data {
    let size = shape.dropFirst().reduce(1, *)
    let dimensions = [range.count] + shape.dropFirst()
    let words = [0x800 | shape.count] + dimensions
    let header = words.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } }
    return Data(header) + Data(values.dropFirst(range.lowerBound * size).prefix(range.count * size))
  }
}
