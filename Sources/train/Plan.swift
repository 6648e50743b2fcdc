import ArgumentParser
import Files
import MPI
import Planner
import Strategies
import Trainer

extension Train {
  /// Predicts speed-ups and recommends settings.
  struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Predict step times and speed-ups for every codec and up to 16384 ranks, and recommend one.",
      discussion: """
        Measures the ranks that it runs on, or uses the costs that it is given:

          mpirun --hostfile HOSTS -np 8 train plan --data idx:DIR --model mlp:512,512
          train plan --bandwidth 10gbit --latency 30us --plot speed-up.svg
          train plan --minibatch 1024 --frame-seconds 0.118ms --post-seconds 9.2ms --update-seconds 9ms \
        --float-exchange-seconds 320ms

        The last has the costs of Seide et al. 2014; if no model and no data are named, T_frm and T_float are enough. A time \
        is a number with s, ms, us or ns.
        """)

    @OptionGroup(title: PlannedRun.title) var subject: PlanSubject
    @OptionGroup(title: PlannedExchange.title) var place: PlanPlace
    @OptionGroup(title: "Known costs") var costs: PlanCostOptions
    @OptionGroup(title: PlannedReports.title) var telling: PlanTelling

    /// The names of the options allowed after `--`.
    static let optionNames =
      ["config"] + PlannedRun.fields.map(\.name) + ["strategy", "codec", "ranks", "ranks-per-host"]
      + PlannedExchange.fields.map(\.name) + [
        "frame-seconds", "post-seconds", "update-seconds", "float-exchange-seconds", "bandwidth", "latency", "brief", "json",
        "plot",
      ] + PlannedReports.fields.map(\.name) + ["help"]

    func run() throws {
      var request = PlanRequest()
      try subject.fill(&request, with: place.exchange.given + telling.reports.given)
      try place.fill(&request)
      try costs.fill(&request)
      try request.validate()
      _ = try Recipe(request.options)
      let picture = try telling.picture(config: subject.config)
      if Launcher.rank == 0 { try picture?.open() }
      if let model = request.givenModel {
        guard Launcher.rank == 0 else { return }
        let plan = ScalingPlan(model, codecs: try request.chosenCodecs(), costs: model.lines, ranks: request.ranks)
        return try telling.tell(plan, for: request, costs: model.json, picture: picture)
      }
      let asked = request
      Launch.run(asked.options.waiting()) { world in
        let planner = try Planner(asked, on: world)
        guard let plan = planner.plan else { return 0 }
        // The other ranks are done with this one.
        do { try telling.tell(plan, for: asked, costs: planner.costs, picture: picture) } catch {
          Launch.complain("\(error)")
          return exitStatus(of: error) ?? 70
        }
        return 0
      }
    }
  }
}
