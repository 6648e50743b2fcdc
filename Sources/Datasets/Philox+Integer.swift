internal import Buffers

extension Philox {
  /// A whole number of 0 to `bound` − 1 from the random word of element `index`, each equally likely but for 2⁻³² · `bound`.
  func integer(_ index: Int, below bound: Int) -> Int {
    Int(word(index).multipliedFullWidth(by: UInt32(bound)).high)
  }
}
