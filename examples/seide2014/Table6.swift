import ArgumentParser
import Laboratory

/// The effect of new labels from the model's own alignment.
struct Table6: PaperTable {
  static let configuration = CommandConfiguration(abstract: "What realignment brings, in floats and at one bit.")

  @OptionGroup var speech: Speech
  @OptionGroup var telling: Telling
  @Option(help: ArgumentHelp("After which epochs labels are made anew.", valueName: "epochs")) var realign = "1,2,3"

  func checkRequirements() throws {
    try speech.checkData()
    guard speech.steps.isMultiple(of: Speech.stepsInEpoch) else {
      throw Failure("--steps is a number of whole passes over the data, of \(Speech.stepsInEpoch) steps each")
    }
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let (hidden, seeds) = (speech.hidden ?? "32", speech.seeds ?? 6)
    let kinds: [(name: String, ranks: Int, codec: String, paper: [String])] = [
      ("one rank, floats", 1, "none", ["14.5", "13.2"]),
      ("\(speech.ranks) ranks, 1 bit", speech.ranks, "one-bit", ["14.2", "13.2"]),
    ]
    // Without realignment, labels are realigned after the last epoch, so that frames are counted against such labels too.
    let last = String(speech.steps / Speech.stepsInEpoch)
    let rows = kinds.flatMap { kind in
      [false, true].map { isRealigned in
        Row(
          kind.name + (isRealigned ? ", realigned" : ""), ranks: kind.ranks,
          [
            "--model", "mlp:\(hidden)", "--learning-rate", "0.1", "--codec", kind.codec, "--warm-start",
            String(speech.steps / 4), "--realign", isRealigned ? realign : last,
          ], extraSteps: isRealigned ? 0 : 1)
      }
    }
    let accuracies = try speech.reports(of: rows, seeds: 1...seeds, from: laboratory).map { try Accuracy($0) }
    var table = TextTable(
      "Table 6: what realignment brings, in percent",
      columns: ["", "paper: WER", "digits wrong", "frames right, uniform labels", "frames right, aligned labels"])
    for ((row, accuracy), paper) in zip(zip(rows, accuracies), kinds.flatMap(\.paper)) {
      table.add([
        row.name, paper, accuracy.digitErrors.text(digits: 2), accuracy.frames.text(digits: 1),
        accuracy.alignedFrames.text(digits: 1),
      ])
    }
    table.notes = [
      speech.setting(hidden: hidden, seeds: 1...seeds),
      "The paper's figures are those of 160 million parameters, 3300 hours, Hub5'00, one GPU and 10×2. At first the states of "
        + "a digit divide its recording evenly. Realigned: the model aligns them anew after epoch \(realign) of \(last); else "
        + "once, one step before the end of training, so that each row's frames are counted against the alignment by its own "
        + "model, too. Frames right by uniform labels fall with realignment because the model has learnt other labels.",
    ]
    return [table]
  }
}
