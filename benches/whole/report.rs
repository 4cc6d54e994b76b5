//! The report: Markdown tables for people. Figures are rounded to what a noisy machine can tell.

use std::fmt::Write as _;

use crate::findings::Findings;
use crate::reference::Limit;
use crate::run::Run;
use crate::targets::{self, Bound, Target};

/// All tables.
pub fn markdown(findings: &Findings) -> String {
    let parts = [
        targets_table(&targets::of(findings)),
        usual_table(findings),
        limits_table(findings),
        grid_table(findings),
    ];
    parts.join("\n")
}

fn targets_table(targets: &[Target]) -> String {
    let mut text = "| target | measured | wanted | |\n|---|--:|--:|---|\n".to_owned();
    for target in targets {
        let (sign, bound) = match target.bound {
            Bound::Least(bound) => ('≥', bound),
            Bound::Most(bound) => ('≤', bound),
        };
        let verdict = if target.is_met() { "met" } else { "**missed**" };
        let (measured, unit) = (figure(target.measured), target.unit);
        let _ = writeln!(
            text,
            "| {} | {measured}{unit} | {sign} {}{unit} | {verdict} |",
            target.what,
            figure(bound)
        );
    }
    text
}

fn usual_table(findings: &Findings) -> String {
    let (usual, open, backlog) = (&findings.usual, &findings.open, &findings.backlog);
    let mut text = String::from(
        "1 KiB events; the ratios in brackets are to reference (a). A commit's group is an average.\n\n\
         | load | who | accepted/s | delivered/s | p50 ms | p99 ms | p99.9 ms | CPU µs/event | peak MiB | B written/event | group |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let closed = "128 connections, closed loop";
    for (who, run) in [
        ("(a) ingress alone", &usual.ingress),
        ("to Kafka", &usual.kafka),
        ("to RabbitMQ", &usual.rabbitmq),
        ("to the store", &usual.store),
    ] {
        text.push_str(&row(closed, who, run, &usual.ingress));
    }
    for (who, run) in [
        ("(a) ingress alone", &open.ingress),
        ("to Kafka", &open.kafka),
    ] {
        text.push_str(&row("1,000 events/s, open loop", who, run, &open.ingress));
    }
    let _ = writeln!(
        text,
        "\nA RabbitMQ that comes back takes {} events/s of the backlog while nothing else comes in ({}× reference (b)), \
         and {} events/s while {} events/s are accepted.",
        figure(backlog.alone),
        figure(backlog.alone / usual.lapin.rate()),
        figure(backlog.under_load),
        figure(backlog.accepted)
    );
    text
}

#[allow(clippy::cast_precision_loss, reason = "mebibytes to read")]
fn row(load: &str, who: &str, run: &Run, limit: &Run) -> String {
    let is_limit = std::ptr::eq(run, limit);
    let with_ratio = |value: f64, limit: f64| {
        if is_limit {
            figure(value)
        } else {
            format!("{} ({}×)", figure(value), figure(value / limit))
        }
    };
    let of_bridge = |text: String| if is_limit { "–".to_owned() } else { text };
    let cells = [
        load.to_owned(),
        who.to_owned(),
        with_ratio(run.accepted_rate, limit.accepted_rate),
        of_bridge(figure(run.delivered_rate)),
        milliseconds(run.latency.p50),
        milliseconds(run.latency.p99),
        milliseconds(run.latency.p999),
        with_ratio(run.cpu(), limit.cpu()),
        figure(run.usage.peak_bytes as f64 / f64::from(1 << 20)),
        of_bridge(figure(run.written())),
        of_bridge(figure(run.group)),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn limits_table(findings: &Findings) -> String {
    let (usual, open) = (&findings.usual, &findings.open);
    let mut text = "| reference | events/s | CPU µs/event | p50 ms of a group | p99 ms |\n|---|--:|--:|--:|--:|\n".to_owned();
    let group = figure(usual.kafka.group);
    let rows: [(String, &Limit, bool); 5] = [
        (
            "(b) lapin, 4 channels of 256".to_owned(),
            &usual.lapin,
            false,
        ),
        ("(c) rdkafka".to_owned(), &usual.rdkafka, false),
        (
            format!("(d) append and fdatasync, groups of {group}"),
            &usual.disk,
            true,
        ),
        (
            "(d) append and fdatasync, single".to_owned(),
            &open.disk,
            true,
        ),
        (
            format!("SQLite, row and id, groups of {group}"),
            &usual.sqlite,
            true,
        ),
    ];
    for (name, limit, in_groups) in rows {
        let (p50, p99) = if in_groups {
            (
                milliseconds(limit.latency.p50),
                milliseconds(limit.latency.p99),
            )
        } else {
            ("–".to_owned(), "–".to_owned())
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {p50} | {p99} |",
            figure(limit.rate()),
            figure(limit.cpu())
        );
    }
    text
}

fn grid_table(findings: &Findings) -> String {
    let mut text = String::from(
        "| connections | body | (a)/s | to Kafka/s | to the store/s | (a) p50, p99 ms | to Kafka p50, p99 ms | (a) CPU µs | to Kafka CPU µs | to the store CPU µs |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for cell in &findings.grid {
        let limit = &cell.ingress;
        let rate = |run: &Run| {
            let ratio = run.accepted_rate / limit.accepted_rate;
            format!("{} ({}×)", figure(run.accepted_rate), figure(ratio))
        };
        let both = |run: &Run| {
            format!(
                "{}, {}",
                milliseconds(run.latency.p50),
                milliseconds(run.latency.p99)
            )
        };
        let cells = [
            limit.connections.to_string(),
            size(limit.body_bytes),
            figure(limit.accepted_rate),
            rate(&cell.kafka),
            rate(&cell.store),
            both(limit),
            both(&cell.kafka),
            figure(limit.cpu()),
            figure(cell.kafka.cpu()),
            figure(cell.store.cpu()),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn size(bytes: usize) -> String {
    if bytes < 1024 {
        format!("{bytes} B")
    } else {
        format!("{} KiB", bytes / 1024)
    }
}

fn milliseconds(microseconds: f64) -> String {
    figure(microseconds / 1000.0)
}

/// Three digits, and thousands apart.
fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        let whole = format!("{:.0}", (value / 100.0).round() * 100.0);
        return format!(
            "{},{}",
            &whole[..whole.len() - 3],
            &whole[whole.len() - 3..]
        );
    }
    let digits = if magnitude >= 100.0 {
        0
    } else if magnitude >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}
