//! The whole bridge beside its references.
fn main() {}
