//! The report: Markdown tables for people. Figures are rounded to what a noisy machine can tell.

use std::fmt::Write as _;

use crate::findings::{Away, Cell, Closed, Findings, Round};
use crate::reference::Limit;
use crate::run::Run;
use crate::targets::{self, Bound, Target, count};

/// All tables, of what was measured.
pub fn markdown(findings: &Findings) -> String {
    let parts = [
        targets_table(&targets::of(findings)),
        runs_table(findings),
        findings.away.as_ref().map(stalls).unwrap_or_default(),
        limits_table(findings),
        grid_table(&findings.grid),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
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

fn runs_table(findings: &Findings) -> String {
    let mut text = String::from(
        "1 KiB events; the ratios in brackets are to the first line of a load. A commit's group is an average.\n\n\
         | load | who | accepted/s | delivered/s | p50 ms | p99 ms | p99.9 ms | CPU µs/event | peak MiB | B written/event | group |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    findings
        .closed
        .iter()
        .for_each(|closed| closed_rows(closed, &mut text));
    if !findings.open.is_empty() {
        open_rows(&findings.open, &mut text);
    }
    if let Some(run) = &findings.written {
        let load = format!("{} connections, segments recycled", run.connections);
        text.push_str(&row(&load, "to Kafka", run, run));
    }
    text
}

fn closed_rows(closed: &Closed, text: &mut String) {
    let load = format!("{} connections, closed loop", closed.ingress.connections);
    for (who, run) in [
        ("(a) ingress alone", &closed.ingress),
        ("(e) with a sync", &closed.durable),
        ("to Kafka", &closed.kafka),
        ("to RabbitMQ", &closed.rabbitmq),
        ("to the store", &closed.store),
    ] {
        text.push_str(&row(&load, who, run, &closed.ingress));
    }
}

/// Of each the round in which its p99 was the median.
fn open_rows(rounds: &[Round], text: &mut String) {
    let median = |who: fn(&Round) -> &Run| {
        let runs = rounds.iter().map(|round| who(round).clone()).collect();
        Run::median_by(runs, |run| run.latency.p99)
    };
    let durable = median(|round| &round.durable);
    let load = format!("1,000 events/s, the median of {}", rounds.len());
    text.push_str(&row(&load, "(e) with a sync", &durable, &durable));
    for (who, run) in [
        ("to Kafka", median(|round| &round.kafka)),
        ("to RabbitMQ", median(|round| &round.rabbitmq)),
        ("to the store", median(|round| &round.store)),
    ] {
        text.push_str(&row(&load, who, &run, &durable));
    }
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
    let if_any = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
    let cells = [
        load.to_owned(),
        who.to_owned(),
        with_ratio(run.accepted_rate, limit.accepted_rate),
        if_any(run.delivered_rate),
        milliseconds(run.latency.p50),
        milliseconds(run.latency.p99),
        milliseconds(run.latency.p999),
        with_ratio(run.cpu(), limit.cpu()),
        figure(run.usage.peak_bytes as f64 / f64::from(1 << 20)),
        if_any(Some(run.written()).filter(|written| *written > 0.0)),
        if_any(run.group),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn stalls(away: &Away) -> String {
    format!(
        "With {} events waiting for a sink that is away, and 1,000 more a second: the longest answer took {} ms while \
         the spool was looked at five times a second, and {} ms while it was not.\n",
        count(away.events),
        milliseconds(away.seen.latency.longest),
        milliseconds(away.unseen.latency.longest)
    )
}

fn limits_table(findings: &Findings) -> String {
    let mut rows: Vec<(String, &Limit, bool)> = Vec::new();
    if let Some(backlog) = &findings.backlog {
        let name = "(b) lapin, 4 channels of 256".to_owned();
        rows.push((name, &backlog.lapin, false));
    }
    if let Some(closed) = &findings.closed {
        let group = figure(closed.kafka.group.unwrap_or_default());
        rows.push(("(c) rdkafka".to_owned(), &closed.rdkafka, false));
        let name = format!("(d) append and fdatasync, groups of {group}");
        rows.push((name, &closed.disk, true));
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "| reference | events/s | CPU µs/event | p50 ms of a group | p99 ms |\n|---|--:|--:|--:|--:|\n".to_owned();
    for (name, limit, in_groups) in rows {
        let of_a_group = |latency: f64| {
            if in_groups {
                milliseconds(latency)
            } else {
                "–".to_owned()
            }
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            figure(limit.rate()),
            figure(limit.cpu()),
            of_a_group(limit.latency.p50),
            of_a_group(limit.latency.p99)
        );
    }
    text
}

fn grid_table(grid: &[Cell]) -> String {
    if grid.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "| connections | body | (a)/s | (e)/s | to Kafka/s | to the store/s | (e) p50, p99 ms | to Kafka p50, p99 ms | (a) CPU µs | (e) CPU µs | to Kafka CPU µs | to the store CPU µs |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for cell in grid {
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
            rate(&cell.durable),
            rate(&cell.kafka),
            rate(&cell.store),
            both(&cell.durable),
            both(&cell.kafka),
            figure(limit.cpu()),
            figure(cell.durable.cpu()),
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
