//! What of a changed configuration is taken over while the bridge runs.
//!
//! First everything is made that can fail, beside what runs; then it is put in place, and from there
//! on nothing can fail. So a configuration is taken over whole or not at all, and requests under way
//! end by what they began with.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::anyhow;
use jiff::Timestamp;

use super::running_sinks::{index, needs};
use super::{Bridge, connection_setup, labels, running_recovery};
use crate::admin::AccessRules;
use crate::backfill::RecoveryRules;
use crate::config::{
    ConditionSettings, IngressSettings, RouteSettings, Settings, SinkKind, SinkSettings,
    SourceSettings,
};
use crate::ingress::{
    AccessControl, ClientAddress, ConnectionSetup, HandlerRules, RequestLimits, SourceEndpoint,
    SourceEndpoints,
};
use crate::metrics::Metrics;
use crate::name::{EventType, SinkName, SourceName};
use crate::pipeline::{DispatcherSettings, Terms};
use crate::route::{Route, RouteCondition, RouteTarget, Router};
use crate::sink::{Needs, rabbitmq};
use crate::source::FieldTemplate;
use crate::spool::{Spool, SpoolLimits};
use crate::telemetry::Filter;

/// All that a new configuration puts in place, ready.
#[derive(Debug)]
struct Next {
    rules: HandlerRules,
    recovery: RecoveryRules,
    connection_setup: ConnectionSetup,
    access: AccessRules,
    limits: SpoolLimits,
    paces: Vec<(SinkName, DispatcherSettings)>,
    filter: Filter,
    sinks: Vec<SinkSettings>,
    restart_for: Vec<String>,
}

/// A configuration that was taken over.
#[derive(Debug)]
pub struct Reloaded {
    /// The key paths that differ from what the bridge was started with, and that only a restart
    /// takes over.
    pub restart_for: Vec<String>,
}

impl Bridge {
    /// Takes over what can change while the bridge runs: sources, routes and limits. Requests under
    /// way keep the old ones.
    ///
    /// # Errors
    /// When a route leads to a sink that is not running; the old configuration then stays whole.
    pub fn reload(&self, settings: &Settings) -> anyhow::Result<Reloaded> {
        let next = self.prepare(settings)?;
        let restart_for = next.restart_for.clone();
        if next.connection_setup.tls.is_some() {
            labels::show_ingress_certificates(&self.metrics, &settings.ingress);
        }
        self.take_over(next);
        labels::show_sources(&self.metrics, settings, &self.sinks.names());
        self.show_reload(true);
        self.metrics
            .config_restart_required
            .set(i64::from(!restart_for.is_empty()));
        Ok(Reloaded { restart_for })
    }

    /// Notes that a new configuration is not taken over; the old one stays.
    pub fn reload_failed(&self) {
        self.show_reload(false);
    }

    /// Makes everything that is new. Nothing of what runs is touched.
    fn prepare(&self, settings: &Settings) -> anyhow::Result<Next> {
        let new = settings
            .sinks
            .iter()
            .find(|sink| !self.sinks.has(&sink.name));
        if let Some(new) = new {
            return Err(anyhow!(
                "sink.{}: this sink is new; a restart is needed to open it",
                new.name
            ));
        }
        let before = self.rules.load();
        let rules = rules(settings, &self.spool, Some(&before), &self.metrics)?;
        Ok(Next {
            recovery: running_recovery::rules(&settings.sources, &rules.terms),
            rules,
            connection_setup: connection_setup::next(
                &settings.ingress,
                &self.connection_setup.load(),
            )?,
            access: access(&settings.admin.rules, &self.access.load()),
            limits: settings.spool.limits,
            paces: settings
                .sinks
                .iter()
                .map(|sink| (sink.name.clone(), sink.pace))
                .collect(),
            sinks: settings.sinks.clone(),
            filter: Filter::of(&settings.log),
            restart_for: self.restart_for(settings),
        })
    }

    /// The key paths that only a restart takes over, sorted.
    fn restart_for(&self, settings: &Settings) -> Vec<String> {
        let mut keys = self.started_as.restart_for(&settings.key_hashes);
        let needs = needs(settings);
        let unbound = settings.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::RabbitMq(rabbit) if binds_more(rabbit, &self.started_for, &needs) => {
                Some(format!("sink.{}.queue", sink.name))
            }
            _ => None,
        });
        keys.extend(unbound);
        keys.sort();
        keys.dedup();
        keys
    }

    /// Puts it in place; nothing here can fail.
    fn take_over(&self, next: Next) {
        // Before the rules by which late deliveries are let in for as long as ids are kept.
        self.spool.limit(next.limits);
        self.rules.store(next.rules.into());
        self.recovery.take_over(next.recovery);
        self.connection_setup.store(next.connection_setup.into());
        self.access.store(next.access.into());
        for (sink, pace) in next.paces {
            self.sinks.set_pace(&sink, pace);
        }
        next.filter.put_in_place();
        self.sinks.renew(&next.sinks, &self.metrics);
    }

    fn show_reload(&self, worked: bool) {
        self.metrics
            .config_last_reload_successful
            .set(i64::from(worked));
        if worked {
            self.metrics
                .config_last_reload_timestamp_seconds
                .set(Timestamp::now().as_second());
        }
    }
}

/// Whether a token is demanded at all stays until a restart, as where the listener is: a key that was
/// lost must not open it.
fn access(asked: &AccessRules, before: &AccessRules) -> AccessRules {
    let is_demanded = before.token.is_some();
    let asked_for = asked.token.as_ref().filter(|_| is_demanded);
    AccessRules {
        token: asked_for.or(before.token.as_ref()).cloned(),
        hosts: asked.hosts.clone(),
    }
}

/// Whether a queue that is bound to every exchange the sources need would be bound to more of them.
/// Exchanges are made when they are needed, but queues are bound to those that were known at the
/// start.
fn binds_more(rabbit: &rabbitmq::RabbitMqSettings, before: &Needs, now: &Needs) -> bool {
    let exchanges = |needs: &Needs| -> HashSet<String> {
        let of = |(source, types): &(SourceName, Vec<EventType>)| rabbit.exchanges(source, types);
        needs.sources.iter().flat_map(of).collect()
    };
    let to_all = rabbit.queues.iter().any(|queue| queue.exchange.is_none());
    rabbit.declare && to_all && !exchanges(now).is_subset(&exchanges(before))
}

/// What the webhook handler goes by under these settings; what it went by before says how much of
/// each rate limit has been used.
pub(super) fn rules(
    settings: &Settings,
    spool: &Spool,
    before: Option<&HandlerRules>,
    metrics: &Metrics,
) -> anyhow::Result<HandlerRules> {
    Ok(HandlerRules {
        access: access_control(&settings.ingress, before),
        endpoints: endpoints(&settings.sources, before, metrics),
        limits: limits(&settings.ingress),
        terms: Arc::new(terms(settings, spool)?),
        health_path: settings.ingress.guard.health_path.clone(),
    })
}

/// On what terms events are accepted under these settings.
pub(super) fn terms(settings: &Settings, spool: &Spool) -> anyhow::Result<Terms> {
    Ok(Terms {
        router: router(settings, spool)?,
        deadline: settings.acknowledge_timeout,
    })
}

fn access_control(ingress: &IngressSettings, before: Option<&HandlerRules>) -> AccessControl {
    let address = ClientAddress {
        origin: ingress.guard.origin,
        trusted_proxies: ingress.trusted_proxies.clone(),
    };
    AccessControl::new(
        address,
        ingress.guard.allow.clone(),
        ingress.guard.rate_limit_per_address,
        before.map(|rules| &rules.access),
    )
}

fn limits(ingress: &IngressSettings) -> RequestLimits {
    RequestLimits {
        max_body_bytes: ingress.max_body_bytes,
        body_timeout: ingress.body_timeout,
        max_in_flight: ingress.guard.max_in_flight,
        max_body_bytes_in_flight: ingress.guard.max_body_bytes_in_flight,
    }
}

fn endpoints(
    sources: &[SourceSettings],
    before: Option<&HandlerRules>,
    metrics: &Metrics,
) -> SourceEndpoints {
    let endpoint = |settings: &SourceSettings| {
        let name = settings.source.name.to_string();
        let before = before.and_then(|rules| rules.endpoints.get(&name));
        let endpoint =
            SourceEndpoint::new(settings.source.clone(), settings.endpoint, before, metrics);
        (name, endpoint)
    };
    sources.iter().map(endpoint).collect()
}

fn router(settings: &Settings, spool: &Spool) -> anyhow::Result<Router> {
    let routes = settings.routes.iter();
    let routes = routes
        .map(|of| route(of, &settings.sources, spool))
        .collect::<anyhow::Result<_>>()?;
    let known: HashMap<_, _> = settings
        .sources
        .iter()
        .map(|source| {
            (
                source.source.name.clone(),
                source.event_types.iter().cloned().collect(),
            )
        })
        .collect();
    Ok(Router::new(routes, known))
}

/// A route, whose conditions are known by their places among those of its source: both are of the same
/// settings, and are put in place together.
fn route(
    route: &RouteSettings,
    sources: &[SourceSettings],
    spool: &Spool,
) -> anyhow::Result<Route> {
    let source = sources.iter().find(|it| it.source.name == route.source);
    let asked: &[FieldTemplate] = source.map_or(&[], |it| it.source.conditions.templates());
    let condition = |of: &ConditionSettings| {
        let place = asked.iter().position(|it| *it == of.template);
        let place = place.ok_or_else(|| anyhow!("source {} has no {}", route.source, of.template));
        place.map(|place| RouteCondition {
            place,
            texts: of.texts.clone(),
        })
    };
    let conditions = route.when.iter().flatten().map(condition);
    let target = if route.drop {
        RouteTarget::Nowhere
    } else {
        let sinks = route.sinks.iter().map(|name| index(spool, name));
        RouteTarget::Sinks(sinks.collect::<anyhow::Result<_>>()?)
    };
    Ok(Route {
        source: route.source.clone(),
        event_types: route.event_types.clone(),
        conditions: conditions.collect::<anyhow::Result<_>>()?,
        target,
    })
}
