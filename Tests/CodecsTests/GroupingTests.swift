import Buffers
import Codecs
import Testing

@Suite struct GroupingTests {
  @Test("rows are groups, long rows are cut, tensors are not mixed")
  func rows() {
    let layout = TensorLayout([
      ("layers.1.weight", [3, 5]), ("layers.1.bias", [3]), ("layers.0.weight", [2, 10_000]), ("none", [0]), ("scalar", []),
    ])
    let groups = Grouping.row.groups(of: layout)
    // 10 000 values: three pieces of at most 3 334, rounded up to 3 360.
    let expected = [5, 5, 5, 3, 3360, 3360, 3280, 3360, 3360, 3280, 1]
    #expect(groups.map(\.count) == expected)
    checkTiling(groups, of: layout)
  }

  @Test("a row of up to 4 096 is one group", arguments: [1, 31, 784, 4096, 4097, 8192, 8193, 100_001])
  func longRows(length: Int) {
    let layout = TensorLayout([("weights", [2, length])])
    let groups = Grouping.row.groups(of: layout)
    checkTiling(groups, of: layout)
    #expect(groups.count == 2 * ((length + 4095) / 4096))
    #expect(groups.allSatisfy { $0.count <= 4096 })
    #expect(groups.filter { $0.upperBound % length != 0 }.allSatisfy { $0.count % 32 == 0 })
  }

  @Test("the filter of a convolution is one row, and a vector is one")
  func filters() {
    let layout = TensorLayout([("filters", [6, 3, 5, 5]), ("biases", [6]), ("planes", [4, 2, 7]), ("none", [0, 3, 5, 5])])
    let groups = Grouping.row.groups(of: layout)
    #expect(groups.map(\.count) == Array(repeating: 75, count: 6) + [6] + Array(repeating: 14, count: 4))
    checkTiling(groups, of: layout)
    // What is sent for a filter does not depend on how its values are arranged.
    let matrix = TensorLayout([("filters", [6, 75]), ("biases", [6]), ("planes", [4, 14]), ("none", [0, 75])])
    #expect(groups == Grouping.row.groups(of: matrix))
  }

  @Test("tensors that travel as floats are single values, which no code shortens", arguments: codecs.entries.map(\.name))
  func plainTensors(_ name: String) throws {
    var layout = TensorLayout([("layers.2.weight", [3, 50])])
    layout.append("layers.2.bias", shape: [70], kind: .raw)
    layout.append("layers.1.weight", shape: [4, 2, 3, 3], kind: .raw)
    for grouping in [Grouping.row, .elements(16)] {
      let groups = grouping.groups(of: layout)
      checkTiling(groups, of: layout)
      #expect(groups.filter { $0.lowerBound >= 150 }.allSatisfy { $0.count == 1 } && groups.first?.count != 1)
    }
    let codec = try codecs.make(name)
    #expect(codec.isIdentity || codec.isRaw(count: 1))
  }

  @Test("groups of so many elements end with their tensor")
  func elements() {
    let layout = TensorLayout([("layers.0.weight", [3, 7]), ("layers.0.bias", [3])])
    #expect(Grouping.elements(8).groups(of: layout) == [0..<8, 8..<16, 16..<21, 21..<24])
    #expect(Grouping.elements(1).groups(of: layout).count == 24)
    #expect(Grouping.elements(8).groups(of: TensorLayout()).isEmpty)
  }

  @Test("specifications of codecs")
  func specifications() throws {
    #expect(try codecs.make("one-bit").specification == "one-bit:group=row")
    #expect(try codecs.make("one-bit:group=1024").grouping == .elements(1024))
    #expect(try codecs.make("none").isIdentity)
    for (text, sentence) in [
      ("one-bits", "did you mean 'one-bit'?"), ("one-bit:grup=8", "did you mean 'group'?"),
      ("one-bit:group=0", "not '0'"), ("one-bit:group=column", "not 'column'"), ("one-bit:8", "takes no value '8'"),
      ("none:x=1", "has no key 'x'"), ("one-bit:group=1,group=2", "twice"),
    ] {
      let error = #expect(throws: SpecificationError.self) { try codecs.make(text) }
      #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
    }
  }

  private func checkTiling(_ groups: [Range<Int>], of layout: TensorLayout) {
    var end = 0
    for group in groups {
      #expect(group.lowerBound == end && !group.isEmpty)
      #expect(layout.tensors.contains { $0.range.clamped(to: group) == group })
      end = group.upperBound
    }
    #expect(end == layout.count)
  }
}
