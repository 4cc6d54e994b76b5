//! The pure parts of the path, each by itself.
fn main() {}
