internal import Buffers

/// The forms of `vector`.
private enum VectorForm: String, CaseIterable { case product, nearest, unbiased }

/// The entry of codes of several values at once.
let vectorEntry = Registry<any Codec>.Entry(
  "vector", "several values at once as one of a few vectors (Gray 1984; Dai et al. 2019; Gandikota et al. 2021)",
  keys: [
    (
      "form",
      "product: the nearest vector, times a scale of the group; nearest or unbiased: a multiple of a direction (product)"
    ),
    ("dimension", "values of a vector: 2 to 16 (4); of a direction: 8 to 128 (64)"),
    ("bits", "bits of the number of a vector, up to 8 (4), or of a direction, up to 10 (8)"),
    ("group", "values that share a scale: \(groupMeaning)"),
  ]
) { specification in
  let form = try specification.choice("form", default: VectorForm.product)
  let grouping = try Grouping(specification, key: "group")
  guard form != .product else {
    let dimension = try specification.integer("dimension", default: 4, in: 2...16)
    let bits = try specification.integer("bits", default: 4, in: 1...8)
    return ProductVectors(grouping: grouping, book: .shared(.normal, dimension: dimension, bits: bits))
  }
  let dimension = try specification.integer("dimension", default: 64, in: 8...128)
  let bits = try specification.integer("bits", default: 8, in: 1...10)
  guard form != .unbiased || 1 << bits >= dimension else {
    throw SpecificationError("'\(specification)': \(1 << bits) directions do not span \(dimension) dimensions; bits is larger")
  }
  let book = VectorBook.shared(.directions, dimension: dimension, bits: bits)
  return DirectionVectors(grouping: grouping, book: book, weights: form == .unbiased ? book.inverse() : [])
}
