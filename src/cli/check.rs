//! `check`: the configuration, and with `--connect` the sinks too.

use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::command_error::CommandError;
use super::config_file::ConfigFile;
use super::output::Output;
use super::runtime::block_on;
use super::symbol::Symbols;
use super::topics;
use crate::app;
use crate::config::{
    AdminSettings, IngressSettings, IngressTls, Problem, RouteSettings, Settings, SinkKind,
    SinkSettings, SourceSettings, Validity,
};
use crate::sink::kafka::colliding_topics;
use crate::sink::store::StoreError;
use crate::sink::{BrokerTls, CertificateFile, Finding, Needs, Severity};
use crate::spool::{Milestone, SpoolLocation};

/// What closing a sink may take once its findings are there.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// A certificate that expires within this time should have a successor.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Check the configuration, and with --connect the brokers too.
#[derive(Debug, Args)]
#[command(
    after_help = "Every problem is named at once, with its key path and a remedy.
Exit code 2: the configuration is wrong. 1: a certificate has expired, or every authority in a
file, or a broker is not as it must be. 0: all is well.

Examples:
  hookferry check --config hookferry.toml
  hookferry check --config hookferry.toml --connect   # reachable, there, durable, bound, replicated?"
)]
pub(super) struct CheckCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Also look at each sink: whether it is reachable, and whether everything is there and durable.
    #[arg(long)]
    connect: bool,
}

impl CheckCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let settings = self.config.load()?;
        let mut report = Report {
            output: Output::new(),
            symbols: Symbols::for_output(),
            worst_is_error: false,
        };
        for line in summary(&settings) {
            report.output.line(line)?;
        }
        let warnings: Vec<Finding> = settings.warnings().into_iter().map(warning).collect();
        if !warnings.is_empty() {
            report.section("warnings", &warnings)?;
        }
        if let Some(tls) = &settings.ingress.tls {
            report.section("certificates of the public listener", &certificates(tls))?;
        }
        for sink in &settings.sinks {
            let found = sink_certificates(&sink.kind);
            if !found.is_empty() {
                report.section(&format!("certificates of sink {}", sink.name), &found)?;
            }
        }
        let needs = app::needs(&settings);
        for sink in &settings.sinks {
            let found = collisions(&sink.kind, &needs);
            if !found.is_empty() {
                report.section(&format!("topics of sink {}", sink.name), &found)?;
            }
        }
        if self.connect {
            block_on(async {
                for sink in settings.sinks {
                    let findings = findings(sink.kind, &needs).await;
                    report.section(&format!("sink {}", sink.name), &findings)?;
                }
                Ok(())
            })?;
        }
        if report.worst_is_error {
            return Err(CommandError::Negative);
        }
        Ok(())
    }
}

fn warning(problem: Problem) -> Finding {
    Finding {
        severity: Severity::Warning,
        found: format!("{}: {}", problem.path, problem.found),
        remedy: problem.remedy,
    }
}

/// What has been found so far.
struct Report {
    output: Output,
    symbols: Symbols,
    worst_is_error: bool,
}

impl Report {
    fn section(&mut self, title: &str, findings: &[Finding]) -> Result<(), CommandError> {
        self.output.line(format_args!("\n{title}"))?;
        for finding in findings {
            self.worst_is_error |= finding.severity == Severity::Error;
            let symbol = self.symbols.of(finding.severity);
            self.output
                .line(format_args!("  {symbol} {}", finding.found))?;
            if !finding.remedy.is_empty() {
                self.output.line(format_args!("    → {}", finding.remedy))?;
            }
        }
        Ok(())
    }
}

fn certificates(tls: &IngressTls) -> Vec<Finding> {
    let own = own_certificate(&tls.validity);
    std::iter::once(own)
        .chain(
            tls.clients_until
                .map(|until| authorities("client_ca_file", until)),
        )
        .collect()
}

/// A file of authorities, by the date of the last of them.
fn authorities(file: &str, until: Timestamp) -> Finding {
    let left = until.duration_since(Timestamp::now());
    let (severity, remedy) = if left.is_negative() {
        let remedy = "all of them have expired: put one there that counts, then reload the bridge";
        (Severity::Error, remedy)
    } else if left < SOON {
        let remedy = "put its successor beside it, then reload the bridge";
        (Severity::Warning, remedy)
    } else {
        (Severity::Good, "")
    };
    Finding {
        severity,
        found: format!("{file}: the last of its authorities expires on {until}"),
        remedy: remedy.to_owned(),
    }
}

fn own_certificate(validity: &Validity) -> Finding {
    let now = Timestamp::now();
    let (severity, remedy) = match validity.check(now) {
        Err(_) => (
            Severity::Error,
            "no sender takes it: put one there that counts now",
        ),
        Ok(()) if validity.until.duration_since(now) < SOON => {
            (Severity::Warning, "renew it, then reload the bridge")
        }
        Ok(()) => (Severity::Good, ""),
    };
    Finding {
        severity,
        found: format!(
            "{} counts from {} until {}",
            validity.file.display(),
            validity.from,
            validity.until
        ),
        remedy: remedy.to_owned(),
    }
}

/// When the certificates expire that a sink is configured with.
fn sink_certificates(kind: &SinkKind) -> Vec<Finding> {
    let finding = |file: &CertificateFile| match file.key {
        "ca_file" => authorities(&file.path.display().to_string(), file.expiry),
        _ => client_chain(file),
    };
    let tls = kind.tls().into_iter();
    tls.flat_map(BrokerTls::certificates).map(finding).collect()
}

/// The topics of which Kafka has one at most.
fn collisions(kind: &SinkKind, needs: &Needs) -> Vec<Finding> {
    let SinkKind::Kafka(kafka) = kind else {
        return Vec::new();
    };
    let finding = |(one, other)| Finding {
        severity: Severity::Warning,
        found: format!("topics {one} and {other} differ only in \".\" and \"_\""),
        remedy: "Kafka creates one of them at most: change the template of one".to_owned(),
    };
    let pairs = colliding_topics(kafka, needs);
    pairs.into_iter().map(finding).collect()
}

fn client_chain(file: &CertificateFile) -> Finding {
    let left = file.expiry.duration_since(Timestamp::now());
    let (severity, remedy) = if left.is_negative() {
        let remedy = "the broker does not take it any more: put a new one there, with its key";
        (Severity::Error, remedy)
    } else if left < SOON {
        (Severity::Warning, "renew it, then reload the bridge")
    } else {
        (Severity::Good, "")
    };
    Finding {
        severity,
        found: format!("{} counts until {}", file.path.display(), file.expiry),
        remedy: remedy.to_owned(),
    }
}

/// Opens the sink as for nothing, so that looking at it makes no topic, then looks at it.
async fn findings(kind: SinkKind, needs: &Needs) -> Vec<Finding> {
    let sink = match app::open_sink(kind, &Needs::default()) {
        Ok((sink, _)) => sink,
        Err(error) => return vec![unopened(&error)],
    };
    let findings = sink.check(needs).await;
    sink.close(CLOSE_DEADLINE).await;
    findings
}

fn unopened(error: &anyhow::Error) -> Finding {
    match error.downcast_ref() {
        Some(StoreError::Held { path }) => Finding {
            severity: Severity::Good,
            found: format!("{} is in use by a bridge that runs", path.display()),
            remedy: String::new(),
        },
        _ => Finding {
            severity: Severity::Error,
            found: format!("it cannot be opened: {error:#}"),
            remedy: "the bridge would not start: mend this first".into(),
        },
    }
}

/// What would run.
fn summary(settings: &Settings) -> Vec<String> {
    let mut lines = vec!["the configuration is good".to_owned()];
    lines.push(format!("  acknowledge  {}", milestone(settings)));
    lines.push(format!("  spool        {}", place(settings)));
    lines.push(format!("  webhooks     {}", webhooks(&settings.ingress)));
    lines.push(format!("  admin        {}", admin(&settings.admin)));
    let metrics = settings.metrics.iter();
    lines.extend(metrics.map(|listen| format!("  metrics      http://{listen}")));
    lines.extend(settings.sources.iter().map(source));
    lines.extend(settings.sinks.iter().map(sink));
    for route in &settings.routes {
        lines.extend(route_lines(settings, route));
    }
    lines
}

fn admin(admin: &AdminSettings) -> String {
    let token = match admin.rules.token {
        Some(_) => ", by token",
        None => "",
    };
    format!("http://{}{token}", admin.listen)
}

fn webhooks(ingress: &IngressSettings) -> String {
    let (scheme, clients) = match &ingress.tls {
        None => ("http", ""),
        Some(tls) => match (tls.clients_until, tls.client_certificates_required) {
            (None, _) => ("https", ""),
            (_, true) => ("https", ", client certificates required"),
            (_, false) => ("https", ", client certificates optional"),
        },
    };
    let proxies = if ingress.proxy_protocol {
        ", behind proxies that speak the PROXY protocol"
    } else {
        ""
    };
    format!("{scheme}://{}{clients}{proxies}", ingress.listen)
}

fn milestone(settings: &Settings) -> String {
    let timeout = humantime::format_duration(settings.acknowledge_timeout);
    match settings.milestone {
        Milestone::Spooled => format!("once an event is on the disk, within {timeout}"),
        Milestone::Delivered => format!("once the broker has confirmed it, within {timeout}"),
    }
}

fn place(settings: &Settings) -> String {
    let (events, bytes) = (
        settings.spool.limits.max_events,
        bytesize::ByteSize(settings.spool.limits.max_bytes),
    );
    let place = match &settings.spool.location {
        SpoolLocation::Folder(path) => path.display().to_string(),
        SpoolLocation::Memory => "in memory".to_owned(),
    };
    format!("{place}, at most {events} events and {bytes}")
}

fn source(settings: &SourceSettings) -> String {
    let source = &settings.source;
    let secrets = match source.secrets.len() {
        1 => "1 secret".to_owned(),
        count => format!("{count} secrets"),
    };
    let limit = match settings.rate_limit {
        Some(limit) => format!(", {limit} deliveries a second"),
        None => String::new(),
    };
    let late = match &source.deduplication {
        Some(memory) if memory.window > source.tolerance => {
            let window = humantime::format_duration(memory.window);
            format!(", late ones up to {window}")
        }
        _ => String::new(),
    };
    format!(
        "  source       {}: POST /webhooks/{} from {}, {secrets}, tolerance {}{late}{limit}",
        source.name,
        source.name,
        source.provider.name,
        humantime::format_duration(source.tolerance),
    )
}

fn sink(settings: &SinkSettings) -> String {
    let place = match &settings.kind {
        SinkKind::Kafka(kafka) => format!("Kafka at {}", kafka.brokers),
        SinkKind::RabbitMq(rabbit) => {
            format!(
                "RabbitMQ at {}, exchange {}",
                rabbit.address, rabbit.exchange
            )
        }
        SinkKind::Store(store) => format!(
            "store in {}, {} or {}",
            store.path.display(),
            humantime::format_duration(store.retention),
            bytesize::ByteSize(store.max_size_bytes),
        ),
    };
    format!("  sink         {}: {place}", settings.name)
}

fn route_lines(settings: &Settings, route: &RouteSettings) -> Vec<String> {
    let mut lines = Vec::new();
    let source = settings
        .sources
        .iter()
        .find(|source| source.source.name == route.source);
    for name in &route.sinks {
        let only = match &route.event_types {
            None => String::new(),
            Some(types) => {
                let mut types: Vec<&str> = types.iter().map(|of| of.as_str()).collect();
                types.sort_unstable();
                format!(", only {}", types.join(", "))
            }
        };
        lines.push(format!("  route        {} → {name}{only}", route.source));
        let sink = settings.sinks.iter().find(|sink| sink.name == *name);
        let topics = sink.zip(source).map(|(sink, source)| {
            let types: Vec<_> = match &route.event_types {
                Some(only) => only.iter().cloned().collect(),
                None => source.event_types.clone(),
            };
            topics::of_sink(&sink.kind, &route.source, &types)
        });
        let indent = |topic| format!("                 {topic}");
        lines.extend(topics.into_iter().flatten().map(indent));
    }
    lines
}
