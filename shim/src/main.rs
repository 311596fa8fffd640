//! containerd-shim-runj-v1: placeholder entry until the task service.
fn main() {}
