import Foundation
import Planner
import Strategies
import Testing
import Trainer
import _TestSupport

/// Costs that a plan is made from: what cannot be is refused before anything is planned.
@Suite(.serialized, .outsideMPI) struct PlanCostTests {
  private let times = ["frame-seconds", "post-seconds", "update-seconds", "float-exchange-seconds", "latency"]

  @Test func impossibleCostsAreRefusedByName() throws {
    let costs = [
      "frame-seconds": "1ms", "post-seconds": "1ms", "update-seconds": "1ms", "float-exchange-seconds": "9ms",
    ]
    func expectRefusal(_ name: String, _ text: String) throws {
      var given = costs
      if name == "bandwidth" { given["float-exchange-seconds"] = nil }
      given[name] = text
      let arguments = given.sorted { $0.key < $1.key }.flatMap { ["--\($0.key)", $0.value] }
      let result = try Job("train", ["plan", "--minibatch", "64"] + arguments).run()
      let sentences = result.standardError.split(separator: "\n").filter { $0.contains("--\(name) is a ") }
      #expect(result.status == 64 && sentences.count == 1, "--\(name) \(text): \(result.status) \(result.standardError)")
      #expect(result.standardOutput.isEmpty, "--\(name) \(text)")
    }
    for text in ["0", "0s", "-1ms", "nan", "inf", "1e300", "1e9s", "1e-300"] {
      for name in times { try expectRefusal(name, text) }
    }
    for text in ["0mbit", "-1mbit", "nanmbit", "infmbit", "1e300gbit", "1e-9kbit"] { try expectRefusal("bandwidth", text) }
  }

  @Test func possibleCostsAreTaken() throws {
    for text in ["1ns", "1000s"] {
      var request = PlanRequest()
      let seconds = text == "1ns" ? 1e-9 : 1000
      (request.frameSeconds, request.postSeconds, request.updateSeconds) = (seconds, seconds, seconds)
      (request.floatExchangeSeconds, request.latency) = (seconds, seconds)
      try request.validate()
      let model = try #require(request.givenModel)
      let plan = ScalingPlan(model, codecs: try request.chosenCodecs(), costs: model.lines, ranks: nil)
      #expect(plan.predictions.allSatisfy { plan.speedUp($0).isFinite && plan.speedUp($0) > 0 })
      #expect(!plan.text.contains("nan") && !plan.text.contains("inf"))
    }
    for seconds in [0, -1, .nan, .infinity, 1e300] {
      var request = PlanRequest()
      request.latency = seconds
      #expect(throws: OptionError.self) { try request.validate() }
    }
    for rate in [0, -1, .nan, .infinity, 1e300] {
      var request = PlanRequest()
      request.bandwidth = rate
      #expect(throws: OptionError.self) { try request.validate() }
    }
  }
}
