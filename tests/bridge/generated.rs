//! Files of the repository that are made of others.

use crate::repository::place;

/// How those that are stale are written anew.
pub const RENEWAL: &str = "HOOKFERRY_WRITE_BOOK=1 cargo test --test bridge book";

/// Whether the environment asks for that.
pub fn is_renewed() -> bool {
    std::env::var_os("HOOKFERRY_WRITE_BOOK").is_some_and(|value| value == "1")
}

/// Holds a file against what it is to say, or writes it.
///
/// # Panics
/// When it says otherwise.
pub fn is_current(path: &str, text: &str) {
    if is_renewed() {
        std::fs::write(place(path), text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(place(path)).unwrap_or_default();
    let same = found.lines().zip(text.lines()).take_while(|(a, b)| a == b);
    let line = same.count() + 1;
    assert!(
        found == text,
        "{path} is stale from line {line} on; renew it:\n    {RENEWAL}"
    );
}
