//! Reads the body that a command works on: from a file, or from standard input where it is called `-`.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;

use super::command_error::CommandError;

/// Reads all of it.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin()
            .read_to_end(&mut body)
            .context("standard input cannot be read")?;
        return Ok(body);
    }
    let unread = |error| CommandError::Usage(format!("{}: {error}", file.display()));
    std::fs::read(file).map_err(unread)
}
