public import Buffers

/// All codecs; `train list` prints them, tests and benchmarks run over them.
public let codecs = Registry<any Codec>(
  "codec",
  [
    Registry.Entry("none", "floats as they are; nothing is lost") { _ in None() },
    Registry.Entry(
      "one-bit", "one bit per value and two means per group, with error feedback (Seide et al. 2014)",
      keys: [("group", "values that share two means: 'row' of a weight matrix, or a number of elements (row)")]
    ) { OneBit(grouping: try Grouping($0, key: "group")) },
  ])
