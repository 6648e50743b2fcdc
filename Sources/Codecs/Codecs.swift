public import Buffers

/// The grouping of a codec, for `train list`.
let groupMeaning =
  "'row' of a weight matrix, or a number of elements; vectors of deep models, and filters that read an image, travel as floats (row)"

/// All codecs; `train list` prints them, and tests and benchmarks run over them.
public let codecs = Registry<any Codec>(
  "codec",
  [
    Registry.Entry("none", "floats as they are; nothing is lost") { _ in Identity() },
    Registry.Entry(
      "one-bit", "one bit per value and two means per group, with error feedback (Seide et al. 2014)",
      keys: [("group", "values that share two means: \(groupMeaning)")]
    ) { OneBit(grouping: try Grouping($0, key: "group")) },
    Registry.Entry(
      "multi-bit", "2, 4, 8 or 16 bits per value on a uniform scale for each group, with error feedback (as in CNTK)",
      keys: [
        ("bits", "bits of a value: 2, 4, 8 or 16 (4)"),
        ("group", "values that share a scale: \(groupMeaning)"),
        ("range", "how far the scale reaches, in root mean squares of a group, 0.5 to 64 (4)"),
      ]
    ) { specification in
      let bits = try specification.integer("bits", default: 4, in: 2...16)
      guard MultiBit.bitCounts.contains(bits) else {
        throw SpecificationError("'\(specification)': bits is 2, 4, 8 or 16, not '\(bits)'")
      }
      return MultiBit(
        bits: bits, grouping: try Grouping(specification, key: "group"),
        range: Float(try specification.number("range", default: 4, in: 0.5...64)))
    },
    ChunkTopK.entry, EFSign.entry, TernGrad.entry, QSGD.entry, NUQSGD.entry, Natural.entry, Uniform.entry, Codebook.entry,
    E3M0.entry, BF16.entry, FP16.entry, FixedThreshold.entry,
  ])

/// The codecs among which `--codec auto` chooses and which `train plan` compares by default.
public let comparedCodecs = ["none", "one-bit", "multi-bit", "chunk-top-k"]
