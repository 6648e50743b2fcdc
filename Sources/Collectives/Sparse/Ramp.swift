/// How many values ranks send in the first exchanges: a quarter of all, a sixteenth, … down to k.
///
///     k_t = ⌈d / 4^(p + 1)⌉,  p = ⌊t P / T⌋      for t < T
///     k_t = k                                    from exchange T on
///
/// P is the number of shares 1/4, 1/16, … that are more than k of d values, so that these phases are about equally long. Without
/// phases, as with a k of a quarter and more, it is k from the beginning.
///
/// At first gradients change fast, and what waits in a memory is soon out of date; a rank that sends more of them begins as one
/// that sends all.
///
/// Source: Lin et al. 2018, "Deep gradient compression", section 3.3; algorithms §4.5.
struct Ramp: Sendable {
  /// T, the number of exchanges that it takes; 0 for none.
  let length: Int
  /// The number of values in each phase, falling; the last is k.
  let counts: [Int]

  /// The ramp of `count` values to `k` over `length` exchanges.
  init(of count: Int, to k: Int, over length: Int) {
    var (counts, share) = ([Int](), (count + 3) / 4)
    while length > 0 && share > k {
      counts.append(share)
      share = (share + 3) / 4
    }
    self.length = length
    self.counts = counts + [k]
  }

  /// The phase of an exchange, counted from 0.
  func phase(of exchange: Int) -> Int { exchange < length ? exchange * (counts.count - 1) / length : counts.count - 1 }
}
