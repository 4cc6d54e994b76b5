//! Grafana's own schema, with its panels and units.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// What the program that `tests/brokers/grafana` makes has found in a dashboard.
#[derive(Debug)]
pub struct Findings {
    /// Grafana's version.
    pub version: String,
    /// How many panels were looked at.
    pub panels: u64,
    pub faults: Vec<String>,
}

/// Grafana's schema.
#[derive(Debug)]
pub struct Schema {
    program: PathBuf,
}

impl Schema {
    /// # Panics
    /// When there is none.
    pub fn new() -> Self {
        let program = std::env::var_os("HOOKFERRY_TEST_GRAFANA").expect(
            "HOOKFERRY_TEST_GRAFANA names no program: run tests/run, or set it to the one that \
             tests/brokers/grafana has made",
        );
        Self {
            program: program.into(),
        }
    }

    /// Judges dashboards, all at once: the compiler that does it takes its time to begin.
    pub fn judge(&self, dashboards: &[Value]) -> Vec<Findings> {
        let folder = TempDir::new().expect("a temporary folder");
        let files: Vec<PathBuf> = (0..dashboards.len())
            .map(|at| folder.path().join(format!("{at}.json")))
            .collect();
        for (file, dashboard) in files.iter().zip(dashboards) {
            std::fs::write(file, dashboard.to_string()).expect("writable");
        }
        let output = Command::new(&self.program)
            .args(&files)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let lines = String::from_utf8(output.stdout).expect("text");
        let found: Vec<Findings> = lines.lines().map(findings).collect();
        assert_eq!(found.len(), dashboards.len(), "{said}");
        found
    }
}

fn findings(line: &str) -> Findings {
    let answer: Value = serde_json::from_str(line).expect("JSON");
    let fault = |fault: &Value| fault.as_str().expect("a text").to_owned();
    let faults = answer["faults"].as_array().expect("a list");
    Findings {
        version: answer["version"].as_str().expect("a version").to_owned(),
        panels: answer["panels"].as_u64().expect("a number"),
        faults: faults.iter().map(fault).collect(),
    }
}
