//! The door: what a request must pass, in order, to become an accepted event.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use prometheus::{Histogram, IntCounter};

use super::body;
use super::caller::Caller;
use super::guard::Guard;
use super::in_flight::{InFlight, Place};
use super::problem::Problem;
use super::quota::SourceQuota;
use crate::metrics::Metrics;
use crate::pipeline::{Accepted, Pipeline, Refusal, Terms};
use crate::source::{Claim, Inbound, Rejection, Source, Verified};
use crate::trace::{TraceContext, Tracer, Work};

/// The label of requests that name no configured source.
pub(super) const UNKNOWN: &str = "unknown";

/// A source at the door, with its quota.
#[derive(Debug)]
pub struct Entrance {
    source: Source,
    quota: Option<Arc<SourceQuota>>,
    /// The source's series that every delivery changes, looked up once.
    answered: IntCounter,
    age_seconds: Histogram,
}

impl Entrance {
    /// An entrance for `source` that lets `limit` deliveries a second through. One that had the same
    /// limit before the configuration was reloaded goes on counting.
    #[must_use]
    pub fn new(
        source: Source,
        limit: Option<NonZeroU32>,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Self {
        let kept = before.and_then(|before| before.quota.clone());
        let quota = limit.map(|limit| {
            kept.filter(|kept| kept.limit() == limit)
                .unwrap_or_else(|| Arc::new(SourceQuota::of(limit)))
        });
        let name = source.name.as_str();
        let requests = &metrics.http_requests_total;
        Self {
            answered: requests.with_label_values(&[name, StatusCode::OK.as_str()]),
            age_seconds: metrics.signature_age_seconds.with_label_values(&[name]),
            source,
            quota,
        }
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Takes a proven delivery from the quota: nobody but the source can use it up.
    fn take(&self) -> Result<(), Problem> {
        let quota = self.quota.as_ref();
        quota.map_or(Ok(()), |quota| quota.take().map_err(Problem::RateLimited))
    }
}

/// The sources by name.
pub type Sources = HashMap<String, Entrance>;

/// What a body may be, and how many there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// The most requests answered at once; with the largest body, the bound on their memory.
    pub max_in_flight: usize,
}

/// What the door goes by. It is replaced as a whole when the configuration is reloaded, and a
/// request keeps to the end what it began with.
#[derive(Debug)]
pub struct Rules {
    /// Who may come at all, and how often.
    pub guard: Guard,
    /// The sources.
    pub sources: Sources,
    /// What bodies may be, and how many.
    pub limits: Limits,
    /// On what terms deliveries are accepted.
    pub terms: Terms,
}

/// A request at the door.
struct Visit<'a> {
    request: &'a HttpRequest,
    started: Instant,
    /// What held when it came.
    rules: &'a Rules,
    /// Where it wants to go, if there is such a source.
    entrance: Option<&'a Entrance>,
}

impl Visit<'_> {
    /// Under which label it is counted.
    fn label(&self) -> &str {
        self.entrance
            .map_or(UNKNOWN, |entrance| entrance.source.name.as_str())
    }
}

/// The door.
#[derive(Debug, Clone)]
pub struct Door {
    /// What it goes by now.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Who is being answered.
    pub in_flight: Arc<InFlight>,
    /// The way in.
    pub pipeline: Pipeline,
    /// The traces of deliveries.
    pub tracer: Tracer,
    /// Where all is counted.
    pub metrics: Arc<Metrics>,
}

impl Door {
    /// The door for the requests of one thread; what is returned with it runs there: see
    /// [`Pipeline::for_this_thread`].
    pub(super) fn for_this_thread(&self) -> (Self, impl Future<Output = ()> + 'static) {
        let (pipeline, answering) = self.pipeline.for_this_thread();
        let door = Self {
            pipeline,
            ..self.clone()
        };
        (door, answering)
    }

    /// Answers one request.
    pub async fn answer(&self, request: &HttpRequest, mut payload: Payload) -> HttpResponse {
        let rules = self.rules.load_full();
        let visit = Visit {
            request,
            started: Instant::now(),
            rules: &rules,
            entrance: find(request.path(), &rules.sources),
        };
        let passed = AssertUnwindSafe(self.pass(&visit, &mut payload))
            .catch_unwind()
            .await;
        let response = match passed.unwrap_or(Err(Problem::Internal)) {
            Ok(accepted) => ok(&accepted),
            Err(problem) => {
                self.count(visit.label(), problem);
                problem.response(payload)
            }
        };
        self.answered(&visit, response.status());
        response
    }

    async fn pass(&self, visit: &Visit<'_>, payload: &mut Payload) -> Result<Accepted, Problem> {
        let Visit { request, rules, .. } = *visit;
        let limits = &rules.limits;
        let _place = self.admit(request, rules)?;
        let entrance = visit.entrance.ok_or(Problem::UnknownSource)?;
        if request.method() != Method::POST {
            return Err(Problem::MethodNotAllowed);
        }
        body::check_headers(request, limits.max_body_bytes)?;
        self.pipeline.open()?;
        let header = entrance.source.provider.scheme.header;
        let claim = entrance.source.read_signature(
            request
                .headers()
                .get_all(header)
                .map(header::HeaderValue::as_bytes),
        )?;
        let body = body::read(payload, limits.max_body_bytes, limits.body_timeout).await?;
        let entered = self.tracer.enter(trace(request));
        let inbound = Inbound {
            body,
            content_type: text(request, header::CONTENT_TYPE.as_str()),
            trace: entered.context.clone(),
        };
        let verified = self.verify(entrance, claim, inbound)?;
        entrance.take()?;
        let accepted = self.pipeline.accept(verified, &rules.terms).await;
        // Only what was proven: nobody else may fill the collector.
        self.tracer
            .received(entered, || work(&entrance.source, visit.started, &accepted));
        Ok(accepted?)
    }

    /// Lets a request in among those that are answered, whatever it is about.
    fn admit(&self, request: &HttpRequest, rules: &Rules) -> Result<Place<'_>, Problem> {
        let caller = request
            .conn_data::<Caller>()
            .expect("every connection has its caller as its data");
        rules.guard.check(*caller, request.headers())?;
        let place = self.in_flight.enter(rules.limits.max_in_flight);
        place.ok_or(Problem::Overloaded)
    }

    /// Proves the delivery, and shows operators how far the sender's clock is off.
    fn verify(
        &self,
        entrance: &Entrance,
        claim: Claim<'_>,
        inbound: Inbound,
    ) -> Result<Verified, Rejection> {
        let now = Timestamp::now();
        let age = claim.age_seconds(now);
        let result = claim.verify(inbound, now);
        if !matches!(result, Err(Rejection::SignatureMismatch)) {
            #[allow(clippy::cast_precision_loss, reason = "a histogram of seconds")]
            entrance.age_seconds.observe(age as f64);
        }
        if let Ok(verified) = &result {
            self.show_use(entrance.source.name.as_str(), verified.secret(), now);
        }
        result
    }

    /// Shows that a secret was used, unless a reload has taken it away since the request came: its
    /// series is gone, and must not come back.
    fn show_use(&self, source: &str, secret: usize, now: Timestamp) {
        let rules = self.rules.load();
        let secrets = rules.sources.get(source).map(|it| it.source.secrets.len());
        if secrets.is_some_and(|secrets| secret < secrets) {
            self.metrics
                .secret_last_used_timestamp_seconds
                .with_label_values(&[source, &secret.to_string()])
                .set(now.as_second());
        }
    }

    /// Counts and times the answer.
    fn answered(&self, visit: &Visit<'_>, code: StatusCode) {
        match visit.entrance {
            Some(entrance) if code == StatusCode::OK => entrance.answered.inc(),
            _ => self
                .metrics
                .http_requests_total
                .with_label_values(&[visit.label(), code.as_str()])
                .inc(),
        }
        self.metrics
            .http_request_duration_seconds
            .observe(visit.started.elapsed().as_secs_f64());
    }

    fn count(&self, source: &str, problem: Problem) {
        match problem {
            Problem::Refused(_) | Problem::Overloaded => self
                .metrics
                .deliveries_refused_total
                .with_label_values(&[problem.reason()])
                .inc(),
            other => self
                .metrics
                .deliveries_rejected_total
                .with_label_values(&[source, other.reason()])
                .inc(),
        }
    }
}

/// The entrance a path leads to: exactly `/webhooks/` and a source's name.
fn find<'a>(path: &str, sources: &'a Sources) -> Option<&'a Entrance> {
    sources.get(path.strip_prefix("/webhooks/")?)
}

/// A header that travels with the event; one that is not visible ASCII does not.
fn text(request: &HttpRequest, name: &str) -> Option<String> {
    let value = request.headers().get(name)?.to_str().ok()?;
    (value.len() <= 256).then(|| value.to_owned())
}

/// The trace the request says it belongs to.
fn trace(request: &HttpRequest) -> Option<TraceContext> {
    let headers = request.headers();
    let mut parents = headers.get_all("traceparent");
    // Two of them contradict each other.
    let (parent, None) = (parents.next()?, parents.next()) else {
        return None;
    };
    let states = headers.get_all("tracestate");
    TraceContext::received(
        parent.to_str().ok(),
        states.filter_map(|value| value.to_str().ok()),
    )
}

/// What was done with a proven delivery, in the words of OpenTelemetry's semantic conventions.
fn work(source: &Source, started: Instant, result: &Result<Accepted, Refusal>) -> Work {
    let path = format!("/webhooks/{}", source.name);
    let mut attributes = vec![
        ("http.request.method", Method::POST.to_string()),
        ("hookferry.source", source.name.to_string()),
    ];
    if let Ok(accepted) = result {
        attributes.push(("messaging.message.id", accepted.id().to_string()));
        attributes.push(("hookferry.status", accepted.status().as_str().to_owned()));
    }
    Work {
        name: format!("POST {path}"),
        started,
        attributes: attributes
            .into_iter()
            .chain([("http.route", path)])
            .collect(),
        error: result.as_ref().err().map(|refusal| refusal.reason()),
    }
}

/// Exactly 200: the provider takes nothing else for success.
fn ok(accepted: &Accepted) -> HttpResponse {
    let body = format!(
        "{{\"id\":\"{}\",\"status\":\"{}\"}}",
        accepted.id(),
        accepted.status().as_str()
    );
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(body)
}
