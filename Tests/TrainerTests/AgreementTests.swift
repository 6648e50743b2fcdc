import Checkpoints
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// How ranks agree before and after the steps of a run.
@Suite(.serialized) struct AgreementTests {
  private let options: TrainerOptions = {
    var options = TrainerOptions()
    // A tenth of what the agreement waits.
    (options.timeout, options.patience) = (0.04, 1000)
    return options
  }()

  @Test func numbersAndWordsOfAnyLength() throws {
    let agreement = try Agreement(world: World.communicator)
    for count in [0, 1, 7, 8, 15] {
      func numbers(of rank: Int) -> [UInt64] { (0..<count).map { UInt64(100 * rank + $0) } }
      let all = try agreement.gather(numbers(of: World.rank))
      #expect(all == (0..<World.count).map(numbers))
    }
    for root in Set([0, World.count - 1]).sorted() {
      for text in [
        "", "a", "sixty words, or fifty-six bytes and a few more of them: ööööööö", String(repeating: "x", count: 56),
      ] {
        #expect(try agreement.share(World.rank == root ? text : nil, from: root) == text)
      }
    }
  }

  @Test(.ranks(atLeast: 2)) func aRankThatStaysAwayIsNamed() throws {
    let agreement = try Agreement(world: World.communicator, activity: "breakfast", patience: options.waiting())
    let absent = World.count - 1
    var error: ExchangeError?
    if World.rank != absent {
      do { _ = try agreement.gather([1]) } catch let found as ExchangeError { error = found }
    }
    try World.communicator.barrier()
    guard World.rank != absent else { return }
    #expect(error?.awaited.count == 1 && error?.awaited[0].hasPrefix("rank \(absent) on ") == true)
    #expect(error.map { "\($0)".contains("breakfast") } == true)
  }
}
