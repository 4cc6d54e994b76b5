//! What a configuration would run, as the lines that `check` prints first.

use crate::cli::topics;
use crate::config::{
    AdminSettings, IngressSettings, RouteSettings, Settings, SinkKind, SinkSettings, SourceSettings,
};
use crate::name::EventType;
use crate::spool::{Milestone, SpoolLocation};

/// The lines.
pub(super) fn lines(settings: &Settings) -> Vec<String> {
    let mut lines = vec!["the configuration is good".to_owned()];
    lines.push(format!("  acknowledge  {}", milestone(settings)));
    lines.push(format!("  spool        {}", place(settings)));
    lines.push(format!("  webhooks     {}", webhooks(&settings.ingress)));
    lines.push(format!("  admin        {}", admin(&settings.admin)));
    let metrics = settings.metrics.iter();
    lines.extend(metrics.map(|listen| format!("  metrics      http://{listen}")));
    for of in &settings.sources {
        lines.push(source(of));
        lines.extend(recovery(of));
    }
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
    let limit = match settings.endpoint.rate_limit {
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

/// How the source recovers what it missed, if it does.
fn recovery(settings: &SourceSettings) -> Option<String> {
    let recovery = settings.recovery.as_ref()?;
    let span = humantime::format_duration;
    Some(format!(
        "  recovery     {}: from {}, every {}, an audit every {}, events of {} but for the last {}",
        settings.source.name,
        recovery.api.url,
        span(recovery.every),
        span(recovery.audit),
        span(recovery.look_back),
        span(recovery.younger_than),
    ))
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
    let only = conditions(route);
    if route.drop {
        lines.push(format!("  route        {} → dropped{only}", route.source));
    }
    for name in &route.sinks {
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

/// What a route asks of the events it takes.
fn conditions(route: &RouteSettings) -> String {
    let types = route.event_types.iter().map(|types| {
        let mut types: Vec<&str> = types.iter().map(EventType::as_str).collect();
        types.sort_unstable();
        format!(", only {}", types.join(", "))
    });
    let when = route.when.iter().flatten().map(|condition| {
        let texts: Vec<&str> = condition.texts.iter().map(String::as_str).collect();
        format!(", where {} is {}", condition.template, texts.join(" or "))
    });
    types.chain(when).collect()
}
