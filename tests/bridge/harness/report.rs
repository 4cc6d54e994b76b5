//! What a test of the fault matrix has shown, written down for the table in docs/src/evidence.md.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::Verdict;

/// One line of the table.
#[derive(Debug)]
pub struct Report {
    row: u8,
    sink: String,
    did: String,
    recovered: Option<Duration>,
}

impl Report {
    /// A line of this row of the fault matrix.
    pub fn row(row: u8) -> Self {
        assert!((1..=48).contains(&row), "the matrix has 48 rows");
        Self {
            row,
            sink: String::new(),
            did: String::new(),
            recovered: None,
        }
    }

    /// The kind of sink it was shown with.
    pub fn sink(mut self, kind: &str) -> Self {
        self.sink = kind.to_owned();
        self
    }

    /// What was done, in the words of the table.
    pub fn did(mut self, what: impl Into<String>) -> Self {
        self.did = what.into();
        self
    }

    /// How long after the end of the fault all was as before.
    pub fn recovered_in(mut self, time: Duration) -> Self {
        self.recovered = Some(time);
        self
    }

    /// Writes the line, with what the oracle counted.
    pub fn write(self, verdict: &Verdict) {
        let counts = json!({
            "acknowledged": verdict.acknowledged,
            "lost": verdict.lost.len(),
            "inversions": verdict.inversions.len(),
            "duplicates": verdict.duplicates,
        });
        self.save(&counts);
    }

    /// Writes the line of a fault that leaves no events to count: the test has passed.
    pub fn held(self) {
        self.save(&json!({}));
    }

    /// A file of its own, because tests run at the same time; a test that runs again writes over it.
    fn save(self, counts: &serde_json::Value) {
        let Some(folder) = std::env::var_os("HOOKFERRY_TEST_RESULTS").map(PathBuf::from) else {
            return;
        };
        let test = std::thread::current().name().map(str::to_owned);
        let test = test.expect("tests run in threads of their name");
        let line = json!({
            "row": self.row,
            "sink": self.sink,
            "did": self.did,
            "recovered_seconds": self.recovered.map(|time| time.as_secs_f64()),
            "counts": counts,
        });
        let name = format!(
            "{:02}-{}-{}.json",
            self.row,
            test.replace("::", "."),
            self.sink
        );
        fs::create_dir_all(&folder).expect("writable");
        fs::write(folder.join(name), line.to_string()).expect("writable");
    }
}
