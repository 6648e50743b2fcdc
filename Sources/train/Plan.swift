import ArgumentParser
import Trainer

extension Train {
  /// Predicts speed-ups and says what to use.
  struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Predict step times and speed-ups on up to 16384 ranks from known costs, and say what to use.",
      discussion: """
        With the costs of Seide et al. 2014:

          train plan --minibatch 1024 --frame-seconds 0.118ms --post-seconds 9.2ms --update-seconds 9ms \
        --float-exchange-seconds 320ms

        A time is a number with s, ms, us or ns.
        """)

    @OptionGroup(title: "What is trained") var subject: PlanSubject
    @OptionGroup(title: "Where") var place: PlanPlace
    @OptionGroup(title: "Costs that are known") var costs: PlanCostOptions
    @OptionGroup(title: "What is told") var telling: PlanTelling

    /// What may follow `--`.
    static let optionNames = [
      "minibatch", "codec", "ranks", "frame-seconds", "post-seconds", "update-seconds", "float-exchange-seconds", "json",
      "plot",
      "help",
    ]

    func run() throws {
      var request = PlanRequest()
      try subject.fill(&request)
      try place.fill(&request)
      try costs.fill(&request)
      try request.validate()
      guard let model = request.givenModel else {
        throw OptionError("without --frame-seconds and --float-exchange-seconds there is nothing to plan with")
      }
      guard Launch.rank == 0 else { return }
      let plan = ScalingPlan(model, codecs: try request.chosenCodecs(), costs: model.lines, ranks: request.ranks)
      try telling.tell(plan, costs: model.json)
    }
  }
}
