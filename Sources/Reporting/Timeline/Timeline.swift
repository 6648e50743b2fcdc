internal import Buffers
internal import Checkpoints
package import Collectives
internal import Files
internal import Glibc
internal import MPI
internal import Transport

/// Records what this rank does, and when, in a file that shows all ranks.
///
/// Events are in Chrome's trace format, for Perfetto or `chrome://tracing`.
///
/// Each rank is a process of the file, with two threads: the training thread and the concurrent exchange thread. Coarse
/// activities are written when they begin and when they end, so that the file of a killed job shows what each rank was doing;
/// work on tensors is written when it has ended. Times are on rank 0's clock. Events reach the system within a quarter of a
/// second, from a separate thread.
package final class Timeline {
  /// The activities of the training thread, in one word each.
  package enum Activity: String, CaseIterable {
    /// Preparing the run, before there is a timeline to show it.
    case start
    /// Resuming from a checkpoint.
    case resume
    /// Measuring costs to choose the codec.
    case planning
    /// A whole step.
    case step
    /// Building a minibatch.
    case data
    /// Computing a gradient; a timeline shows its parts.
    case computing
    /// Agreeing on a step: whether all gradients are finite.
    case agreement
    /// The rest of an exchange that nothing hides: waiting, and decoding sums with the update.
    case exchange
    /// A step while an exchange of local steps is under way; a place for faults, which a timeline shows as a step.
    case delay
    /// The update, if it is not part of decoding.
    case update
    /// Evaluating the model on the test samples.
    case evaluation
    /// Comparing the models of all ranks.
    case verification
    /// Saving a checkpoint.
    case checkpoint
    /// Realigning labels.
    case realignment
    /// Trying minibatch sizes and learning rates.
    case tuning
    /// Timing exchanges of floats, for the last sentence of a run's output.
    case comparison
    /// Gathering the values of a step's line in the metrics file.
    case report
    /// Reporting the results and writing the model.
    case end
  }

  /// The path of the joined timeline of all ranks.
  package let path: String
  let hosts: HostMap
  /// The file of this host.
  let file: TraceFile
  let writer: TraceWriter
  let clock: TraceClock
  /// How ranks agree on files.
  let agreement: Agreement
  /// The bytes between an event's times and its thread number.
  let process: [UInt8]
  private let tensorNames: [[UInt8]]
  private let tensorEnds: [Int]
  private let trainingThread = pthread_self()
  /// Whether a write error has been reported.
  private var hasWarned = false

  /// Begins a timeline in open files.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - age: How long ago it began, in nanoseconds; rank 0's value is used.
  ///   - skew: Added to the clock of this rank, for tests.
  init(
    _ path: String, _ file: TraceFile, of hosts: HostMap, over agreement: Agreement, layout: TensorLayout, age: Int, skew: Int
  ) throws {
    self.path = path
    self.agreement = agreement
    self.file = file
    self.hosts = hosts
    clock = try TraceClock(hosts, age: age, skew: skew)
    writer = TraceWriter(file)
    process = Array(",\"pid\":\(hosts.numbers[hosts.world.rank]),\"tid\":".utf8)
    tensorNames = layout.tensors.map { Array("\(JSONValue.string($0.name))".utf8.dropFirst().dropLast()) }
    tensorEnds = layout.tensors.map(\.range.upperBound)
    introduce()
  }

  deinit { writer.end() }

  /// Records that an activity of the training thread begins.
  package func begin(_ activity: Activity, _ number: Int? = nil) {
    let time = clock.nanoseconds(.now)
    writer.add { $0.appendBegin(activity.rawValue, number: number, category: activity.rawValue, at: time, process: process) }
  }

  /// Records that the activity that began last ends.
  package func end() {
    let time = clock.nanoseconds(.now)
    writer.add { $0.appendEnd(at: time, process: process) }
  }

  /// Records a unit of work of an exchange, or a wait; `decoding` names what its decoding does.
  package func note(_ event: ExchangeEvent, decoding: StaticString = "decode") {
    let (start, end) = (clock.nanoseconds(event.start), clock.nanoseconds(event.end))
    let thread = pthread_equal(pthread_self(), trainingThread) != 0 ? 0 : 1
    writer.add { lines in
      let category: StaticString =
        switch event.kind {
        case .encode: "encode"
        case .send: "send"
        case .sum: "sum"
        case .decode: "decode"
        case .deliver: "update"
        case .wait: "wait"
        }
      guard event.kind != .wait else {
        return lines.appendSpan(category, start: start, end: end, process: process, thread: thread) { $0.append("wait") }
      }
      lines.appendSpan(category, start: start, end: end, process: process, thread: thread) {
        // The exchange thread decodes before sums are needed, and updates nothing.
        $0.append(event.kind == .decode && thread == 0 ? decoding : category)
        appendTensors(in: event.elements, to: &$0)
        if let receiver = event.receiver {
          $0.append(" to rank ")
          $0.append(number: receiver)
        }
      } arguments: {
        $0.append("\"elements\":[")
        $0.append(number: event.elements.lowerBound)
        $0.append(",")
        $0.append(number: event.elements.upperBound)
        $0.append("]")
        if event.kind == .send {
          $0.append(",\"bytes\":")
          $0.append(number: event.byteCount)
        }
      }
    }
  }

  /// Records a part of the computation: of tensor `tensor` in the backward pass, or what `name` describes.
  package func noteCompute(
    _ name: StaticString, number: Int? = nil, tensor: Int? = nil, from start: ContinuousClock.Instant,
    to end: ContinuousClock.Instant
  ) {
    let (start, end) = (clock.nanoseconds(start), clock.nanoseconds(end))
    writer.add { lines in
      lines.appendSpan("compute", start: start, end: end, process: process, thread: 0) {
        $0.append(name)
        if let number {
          $0.append(" ")
          $0.append(number: number)
        }
        if let tensor {
          $0.append(" ")
          $0 += tensorNames[tensor]
        }
      }
    }
  }

  /// Records that the training thread waited for the other slices of its model.
  package func noteActivations(from start: ContinuousClock.Instant, to end: ContinuousClock.Instant) {
    let (start, end) = (clock.nanoseconds(start), clock.nanoseconds(end))
    writer.add {
      $0.appendSpan("wait", start: start, end: end, process: process, thread: 0) { $0.append("wait for activations") }
    }
  }

  /// The warning if the file cannot be written; nil if all is well or the warning has been taken.
  package func takeWarning() -> String? {
    guard !hasWarned, let failure = writer.state.failure else { return nil }
    hasWarned = true
    return "some of the timeline will be missing: \(failure); the run goes on"
  }

  /// Writes the names of the ranks and their threads, and the accuracy of the clocks.
  private func introduce() {
    let number = hosts.numbers[hosts.world.rank]
    var labels = "clock of rank 0"
    if clock.offset.roundTrip > 0 {
      let (offset, bound) = (Double(clock.offset.nanoseconds) / 1000, Double(clock.offset.roundTrip) / 2000)
      labels += ", \(decimal(offset, digits: 1)) µs ahead of this host's, within \(decimal(bound, digits: 1)) µs"
    }
    let values: [(String, JSONValue.Member)] = [
      ("process_name", .init("name", .string(hosts.name(of: hosts.world.rank)))),
      ("process_sort_index", .init("sort_index", .integer(number))),
      ("process_labels", .init("labels", .string(labels))),
    ]
    func metadata(_ name: String, thread: Int, _ value: JSONValue.Member) -> String {
      let event: JSONValue = [
        "name": .string(name), "ph": "M", "pid": .integer(number), "tid": .integer(thread), "args": .object([value]),
      ]
      return "\(event),\n"
    }
    writer.add { lines in
      for (name, value) in values { lines += metadata(name, thread: 0, value).utf8 }
      for (thread, name) in ["training", "exchange"].enumerated() {
        lines += metadata("thread_name", thread: thread, .init("name", .string(name))).utf8
      }
    }
  }

  /// Appends the names of the tensors that contain `elements`: the first, and the last if there are several.
  private func appendTensors(in elements: Range<Int>, to line: inout [UInt8]) {
    guard let first = tensorEnds.firstIndex(where: { $0 > elements.lowerBound }), !elements.isEmpty,
      let last = tensorEnds.firstIndex(where: { $0 >= elements.upperBound })
    else { return }
    line.append(" ")
    line += tensorNames[first]
    guard last > first else { return }
    line.append(" to ")
    line += tensorNames[last]
  }
}
