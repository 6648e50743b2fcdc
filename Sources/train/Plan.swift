import ArgumentParser
import Foundation
import MPI
import Trainer

extension Train {
  /// Predicts speed-ups and says what to use.
  struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Predict step times and speed-ups for every codec and up to 16384 ranks, and say what to use.",
      discussion: """
        Costs are given, or measured on the ranks that it is started on. With the costs of Seide et al. 2014:

          train plan --minibatch 1024 --frame-seconds 0.118ms --post-seconds 9.2ms --update-seconds 9ms \
        --float-exchange-seconds 320ms

        A time is a number with s, ms, us or ns.
        """)

    @OptionGroup(title: "What is trained") var subject: PlanSubject
    @OptionGroup(title: "Where") var place: PlanPlace
    @OptionGroup(title: "Costs that are known") var costs: PlanCostOptions
    @OptionGroup(title: "What is told") var telling: PlanTelling

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
