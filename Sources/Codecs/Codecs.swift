public import Buffers

/// The grouping of a codec, for `train list`.
let groupMeaning =
  "'row' of a weight matrix, or a number of elements; vectors of deep models, and filters that read an image, travel as floats (row)"

/// All codecs; `train list` prints them, and tests and benchmarks run over them.
public let codecs = Registry<any Codec>(
  "codec",
  [
    Registry.Entry("none", "floats as they are; nothing is lost") { _ in Identity() }.compared,
    Registry.Entry(
      "one-bit", "one bit per value and two means per group, with error feedback (Seide et al. 2014)",
      keys: [("group", "values that share two means: \(groupMeaning)")]
    ) { OneBit(grouping: try Grouping($0, key: "group")) }.damped.compared,
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
    }.damped.compared,
    Registry.Entry(
      "rotated", "1, 2 or 4 bits per value of rotated groups, with error feedback (Vargaftik et al. 2021, 2022)",
      keys: [
        ("bits", "bits of a value: 1, 2 or 4 (1)"),
        ("group", "values that are rotated together: 'row' of a weight matrix, or a number of elements up to 4096 (1024)"),
        ("scale", "least-error; or unbiased, with an error half as large again (least-error)"),
        ("feedback", "the share of a residual that takes part in a code, above 0; the rest waits (0.25)"),
      ]
    ) { try Rotated($0) },
    ChunkTopK.entry.compared, EFSign.entry, TernGrad.entry, QSGD.entry, NUQSGD.entry, Natural.entry, Uniform.entry,
    Codebook.entry,
    E3M0.entry, BF16.entry, FP16.entry, FixedThreshold.entry, RandomK.entry, Threshold.entry, UnbiasedK.entry,
    vectorEntry, Projection.entry, Adaptive.entry,
  ])

/// The codecs among which `--codec auto` chooses and which `train plan` compares by default: those whose entry is
/// `compared`.
public let comparedCodecs = codecs.entries.filter(\.isCompared).map(\.name)
