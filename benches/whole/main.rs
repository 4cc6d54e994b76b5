//! The whole bridge, real HTTP in and a real sink out, measured in the same run as the limits of its
//! parts: what an HTTP server, a disk, lapin and rdkafka can do alone on this machine.
//!
//! ```text
//! tests/run --bench                    starts the brokers, runs all of it, writes README's section
//! cargo bench --bench whole            with HOOKFERRY_TEST_AMQP_URL and HOOKFERRY_TEST_KAFKA_BROKERS
//! cargo bench --bench whole -- --quick a first look, in a few minutes and with more noise
//! cargo bench --bench whole -- --from findings.json  the tables and the picture of an earlier run
//! ```
//!
//! The sender, the bridge and each reference are processes of their own, and share the machine.

mod bridge;
mod course;
mod delivery;
mod findings;
mod ledger;
mod load;
mod plot;
mod reference;
mod report;
mod role;
mod run;
mod targets;
mod usage;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

use course::Course;

/// Measures the bridge beside its references.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where findings.json, performance.md and performance.svg are written.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/performance"))]
    results: PathBuf,
    /// Shorter loads and smaller amounts.
    #[arg(long)]
    quick: bool,
    /// Measures nothing, and reports what an earlier run has found.
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
    let findings = match &arguments.from {
        Some(file) => serde_json::from_slice(&fs::read(file)?)?,
        None => course(arguments.quick)?.run()?,
    };
    let results = arguments.results;
    fs::create_dir_all(&results)?;
    fs::write(
        results.join("findings.json"),
        serde_json::to_string_pretty(&findings)?,
    )?;
    let report = report::markdown(&findings);
    fs::write(results.join("performance.md"), &report)?;
    plot::draw(&findings, &results.join("performance.svg"))?;
    println!("{report}");
    Ok(())
}

fn course(quick: bool) -> anyhow::Result<Course> {
    let (rounds, seconds, million, ids) = if quick {
        (1, 2, 100_000, 200_000)
    } else {
        (3, 5, 1_000_000, 10_000_000)
    };
    Ok(Course {
        amqp_url: broker("HOOKFERRY_TEST_AMQP_URL")?,
        kafka_brokers: broker("HOOKFERRY_TEST_KAFKA_BROKERS")?,
        rounds,
        seconds,
        million,
        ids,
    })
}

fn broker(variable: &str) -> anyhow::Result<String> {
    std::env::var(variable).with_context(|| {
        format!("{variable} names no broker; `tests/run --bench` starts one and runs this")
    })
}
