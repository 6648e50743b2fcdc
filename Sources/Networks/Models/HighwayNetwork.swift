internal import Buffers

/// The `highway` row of the models: a linear layer, highway layers of the same width, and a linear layer.
let highwayNetwork = Registry<NetworkRecipe>.Entry(
  "highway", "highway network: layers that mix what they compute with what they read, by gates that are learnt",
  values: "highway layers and their width: 10x128",
  keys: [("gate", "bias that gates start with; below 0 they begin almost closed (-2)"), activationKey, startKey]
) { specification in
  let activation = try specification.choice("activation", default: Activation.relu)
  let start = try specification.choice("start", default: Initialization.uniform)
  let gate = Float(specification.options["gate"] ?? "-2")
  guard let gate, abs(gate) <= 100 else {
    throw SpecificationError(
      "'\(specification)': gate is a number of -100 to 100, not '\(specification.options["gate"] ?? "")'")
  }
  let factors = specification.values.first?.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) } ?? []
  guard specification.values.count == 1, factors.count == 2, let count = factors[0], (1...layerLimit).contains(count),
    let width = factors[1], (1...sizeLimit).contains(width)
  else {
    throw SpecificationError(
      "'\(specification)': write up to \(layerLimit) layers and their width, 1 to \(sizeLimit), such as highway:10x128")
  }
  return NetworkRecipe { form in
    guard form.kind != .tokens else {
      throw SpecificationError("'\(specification)' reads values, and samples of text are tokens; transformer reads those")
    }
    let layers = (0..<count).map { _ -> any Layer in
      Highway(Linear(width, activation, start: start), width: width, gateBias: gate, start: start)
    }
    return try network(
      of: specification,
      Sequence([Linear(width, activation, start: start)] + layers + [Linear(form.classCount, start: start)]),
      on: SampleShape(height: 1, width: 1, channels: form.inputCount),
      called: "samples of \(form.inputCount) values and \(form.classCount) classes")
  }
}
