import Testing

/// The tests of `MPI`, one after another also where `swift test` runs others beside them: MPI is started at a thread level that
/// allows one call at a time, and some tests change limits that all share.
@Suite(.serialized) enum SerialTests {}
