import Buffers
import Testing

@Suite struct StripedLayoutTests {
  private let layout = TensorLayout([("weights.2", [3, 5]), ("biases.2", [3]), ("weights.1", [5, 2]), ("biases.1", [5])])

  @Test func rowsGoToStripesInOrder() {
    let striped = StripedLayout(layout, into: 2)
    #expect(striped.layout(of: 0).tensors.map(\.shape) == [[2, 5], [2], [3, 2], [3]])
    #expect(striped.layout(of: 1).tensors.map(\.shape) == [[1, 5], [1], [2, 2], [2]])
    #expect(striped.layout(of: 1).tensors.map(\.name) == layout.tensors.map(\.name))
    #expect(striped.places(in: 0) == [0..<10, 15..<17, 18..<24, 28..<31])
    #expect(striped.places(in: 1) == [10..<15, 17..<18, 24..<28, 31..<33])
  }

  @Test(arguments: 1...9) func everyValueHasOneStripe(_ stripeCount: Int) {
    let striped = StripedLayout(layout, into: stripeCount)
    var owners = Array(repeating: 0, count: layout.count)
    for stripe in 0..<stripeCount {
      let own = striped.layout(of: stripe)
      for (tensor, place) in zip(own.tensors, striped.places(in: stripe)) {
        #expect(tensor.count == place.count)
        for index in place { owners[index] += 1 }
      }
    }
    #expect(owners.allSatisfy { $0 == 1 })
    if stripeCount == 1 { #expect(striped.layout(of: 0) == layout) }
  }

  @Test func moreStripesThanRowsLeaveSomeEmpty() {
    let last = StripedLayout(layout, into: 9).layout(of: 8)
    #expect(last.count == 0 && last.tensors.map(\.shape) == [[0, 5], [0], [0, 2], [0]])
  }
}
