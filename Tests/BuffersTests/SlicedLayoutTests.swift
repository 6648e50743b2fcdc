import Buffers
import Testing

@Suite struct SlicedLayoutTests {
  private let layout = TensorLayout([
    ("layers.2.weight", [3, 5]), ("layers.2.bias", [3]), ("layers.1.weight", [5, 2]), ("layers.1.bias", [5]),
  ])

  @Test func rowsGoToSlicesInOrder() {
    let sliced = SlicedLayout(layout, into: 2)
    #expect(sliced.layout(of: 0).tensors.map(\.shape) == [[2, 5], [2], [3, 2], [3]])
    #expect(sliced.layout(of: 1).tensors.map(\.shape) == [[1, 5], [1], [2, 2], [2]])
    #expect(sliced.layout(of: 1).tensors.map(\.name) == layout.tensors.map(\.name))
    #expect(sliced.places(in: 0) == [0..<10, 15..<17, 18..<24, 28..<31])
    #expect(sliced.places(in: 1) == [10..<15, 17..<18, 24..<28, 31..<33])
  }

  @Test(arguments: 1...9) func everyValueHasOneSlice(_ sliceCount: Int) {
    let sliced = SlicedLayout(layout, into: sliceCount)
    var owners = Array(repeating: 0, count: layout.count)
    for slice in 0..<sliceCount {
      let own = sliced.layout(of: slice)
      for (tensor, place) in zip(own.tensors, sliced.places(in: slice)) {
        #expect(tensor.count == place.count)
        for index in place { owners[index] += 1 }
      }
    }
    #expect(owners.allSatisfy { $0 == 1 })
    if sliceCount == 1 { #expect(sliced.layout(of: 0) == layout) }
  }

  /// Slices and rows agree on what belongs to one output unit.
  @Test func filtersAreNotSplit() {
    let layout = TensorLayout([("filters", [6, 3, 5, 5]), ("biases", [6])])
    #expect(layout.tensors.map(\.rowLength) == [75, 6])
    #expect(layout.tensors.map(\.unitLength) == [75, 1])
    #expect(TensorLayout([("scalar", []), ("none", [0, 4])]).tensors.map(\.rowLength) == [1, 0])
    let sliced = SlicedLayout(layout, into: 4)
    #expect(sliced.layout(of: 1).tensors.map(\.shape) == [[2, 3, 5, 5], [2]])
    for slice in 0..<4 {
      for (tensor, place) in zip(layout.tensors, sliced.places(in: slice)) {
        #expect((place.lowerBound - tensor.range.lowerBound) % tensor.unitLength == 0)
        #expect(place.count % tensor.unitLength == 0)
      }
    }
  }

  @Test func moreSlicesThanRowsLeaveSomeEmpty() {
    let last = SlicedLayout(layout, into: 9).layout(of: 8)
    #expect(last.count == 0 && last.tensors.map(\.shape) == [[0, 5], [0], [0, 2], [0]])
  }
}
