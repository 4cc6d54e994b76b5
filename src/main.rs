//! Hookferry.
fn main() {}
