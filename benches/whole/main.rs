//! The whole bridge, real HTTP in and a real sink out, measured in the same run as the limits of its
//! parts: what an HTTP server, a disk, lapin and rdkafka can do alone on this machine.
//!
//! ```text
//! tests/run --bench                      starts the brokers, runs all of it, writes docs/src/performance.md
//! cargo bench --bench whole              with HOOKFERRY_TEST_AMQP_URL and HOOKFERRY_TEST_KAFKA_BROKERS
//! cargo bench --bench whole -- --quick   a first look, in a few minutes and with more noise
//! cargo bench --bench whole -- --only closed --only ids          two parts of it
//! cargo bench --bench whole -- --only open --from findings.json  one part; the others as found before
//! cargo bench --bench whole -- --from findings.json              the tables and the picture of that
//! ```
//!
//! Each part is measured with the references it is compared with. The sender, the bridge and each
//! reference are processes of their own, and share the machine.

mod bridge;
mod course;
mod delivery;
mod findings;
mod ledger;
mod load;
mod plot;
mod reference;
mod relay;
mod report;
mod role;
mod run;
mod server;
mod targets;
mod usage;
mod viewers;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, ValueEnum as _};
// The references have the bridge's allocator.
use hookferry as _;

use course::{Course, Part};
use findings::Findings;

/// Measures the bridge beside its references.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where findings.json is written, and performance.md and performance.svg once all was measured.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/performance"))]
    results: PathBuf,
    /// Shorter loads and smaller amounts.
    #[arg(long)]
    quick: bool,
    /// Measures this part; may be given several times. Without it, all are.
    #[arg(long)]
    only: Vec<Part>,
    /// What an earlier run has found; measures nothing but what --only names.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Plays a part in somebody else's run.
    #[arg(long, hide = true)]
    role: Option<String>,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        let role: role::Role = serde_json::from_str(&role)?;
        return role.play();
    }
    let (mut findings, all) = match &arguments.from {
        Some(file) => (serde_json::from_slice(&fs::read(file)?)?, &[][..]),
        None => (Findings::default(), Part::value_variants()),
    };
    let parts = if arguments.only.is_empty() {
        all
    } else {
        &arguments.only[..]
    };
    fs::create_dir_all(&arguments.results)?;
    if !parts.is_empty() {
        let course = course(arguments.quick)?;
        for part in parts {
            course.measure(*part, &mut findings)?;
            // What has been found stays, whatever becomes of the next part.
            save(&findings, &arguments.results)?;
        }
    }
    save(&findings, &arguments.results)?;
    let report = report::markdown(&findings);
    if findings.are_whole() {
        fs::write(arguments.results.join("performance.md"), &report)?;
        draw(&findings, &arguments.results)?;
    }
    println!("{report}");
    Ok(())
}

fn save(findings: &Findings, results: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(findings)?;
    Ok(fs::write(results.join("findings.json"), text)?)
}

fn draw(findings: &Findings, results: &Path) -> anyhow::Result<()> {
    let closed = findings.closed.as_ref().context("no closed loop")?;
    plot::draw(closed, &findings.grid, &results.join("performance.svg"))
}

fn course(quick: bool) -> anyhow::Result<Course> {
    let whole = Course {
        amqp_url: broker("HOOKFERRY_TEST_AMQP_URL")?,
        kafka_brokers: broker("HOOKFERRY_TEST_KAFKA_BROKERS")?,
        rounds: 3,
        seconds: 5,
        pairs: 7,
        pair_seconds: 60,
        short_seconds: 15,
        million: 1_000_000,
        bodies: 2000,
        ids: 10_000_000,
    };
    if !quick {
        return Ok(whole);
    }
    Ok(Course {
        rounds: 1,
        seconds: 2,
        pairs: 3,
        pair_seconds: 10,
        short_seconds: 5,
        million: 100_000,
        bodies: 300,
        ids: 200_000,
        ..whole
    })
}

fn broker(variable: &str) -> anyhow::Result<String> {
    std::env::var(variable).with_context(|| {
        format!("{variable} names no broker; `tests/run --bench` starts one and runs this")
    })
}
