//! What of a changed configuration is taken over while the bridge runs.
//!
//! First everything is made that can fail, beside what runs; then it is put in place, and from there
//! on nothing can fail. So a configuration is taken over whole or not at all, and requests under way
//! end by what they began with.

use std::collections::HashMap;

use anyhow::anyhow;
use jiff::Timestamp;

use super::Bridge;
use super::outlets::index;
use crate::config::{IngressSettings, RouteSettings, Settings, SourceSettings};
use crate::ingress::{Entrance, Limits, Rules, Sources};
use crate::pipeline::Terms;
use crate::route::{Route, Router};
use crate::spool::Spool;

/// All that a new configuration puts in place, ready.
#[derive(Debug)]
struct Next {
    rules: Rules,
}

impl Bridge {
    /// Takes over what can change while the bridge runs: sources, routes and limits. Requests under
    /// way keep the old ones. Everything else needs a restart.
    ///
    /// # Errors
    /// When a route leads to a sink that is not running; the old configuration then stays whole.
    pub fn reload(&self, settings: &Settings) -> anyhow::Result<()> {
        let next = self.prepare(settings)?;
        self.take_over(next);
        self.show_reload(true);
        Ok(())
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
            .find(|sink| !self.outlets.has(&sink.name));
        if let Some(new) = new {
            return Err(anyhow!(
                "sink.{}: this sink is new; a restart is needed to open it",
                new.name
            ));
        }
        Ok(Next {
            rules: rules(settings, &self.spool)?,
        })
    }

    /// Puts it in place; nothing here can fail.
    fn take_over(&self, next: Next) {
        let Next { rules } = next;
        self.rules.store(rules.into());
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

/// What the door goes by under these settings.
pub(super) fn rules(settings: &Settings, spool: &Spool) -> anyhow::Result<Rules> {
    Ok(Rules {
        sources: entrances(&settings.sources),
        limits: limits(&settings.ingress),
        terms: Terms {
            router: router(settings, spool)?,
            deadline: settings.acknowledge_timeout,
        },
    })
}

fn limits(ingress: &IngressSettings) -> Limits {
    Limits {
        max_body_bytes: ingress.max_body_bytes,
        body_timeout: ingress.body_timeout,
    }
}

fn entrances(sources: &[SourceSettings]) -> Sources {
    let entrance = |settings: &SourceSettings| {
        (
            settings.source.name.to_string(),
            Entrance::new(settings.source.clone(), settings.rate_limit),
        )
    };
    sources.iter().map(entrance).collect()
}

fn router(settings: &Settings, spool: &Spool) -> anyhow::Result<Router> {
    let route = |route: &RouteSettings| -> anyhow::Result<Route> {
        let sinks = route
            .sinks
            .iter()
            .map(|name| index(spool, name))
            .collect::<anyhow::Result<_>>()?;
        Ok(Route {
            source: route.source.clone(),
            event_types: route.event_types.clone(),
            sinks,
        })
    };
    let routes = settings
        .routes
        .iter()
        .map(route)
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
