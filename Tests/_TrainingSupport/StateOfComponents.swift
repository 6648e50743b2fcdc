import Buffers

extension StateInventory {
  /// The state of one component.
  init(of component: any Stateful) {
    self.init()
    component.contribute(to: &self)
  }
}
