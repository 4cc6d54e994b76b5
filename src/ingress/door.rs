//! The door: what a request must pass, in order, to become an accepted event.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::Request;
use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use prometheus::{Histogram, IntCounter};

use super::body;
use super::caller::Caller;
use super::early::Early;
use super::guard::Guard;
use super::in_flight::{InFlight, Place};
use super::path;
use super::problem::Problem;
use super::quota::SourceQuota;
use super::refusal_log::{RefusalLog, Refused};
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
    /// The most requests answered at once.
    pub max_in_flight: usize,
    /// The most bytes that their bodies take together.
    pub max_body_bytes_in_flight: usize,
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
    /// Where a load balancer asks whether deliveries are taken, if it may.
    pub health_path: Option<String>,
}

/// A request at the door.
struct Visit<'a> {
    head: &'a RequestHead,
    caller: Caller,
    started: Instant,
    /// What held when it came.
    rules: &'a Rules,
    /// Where it wants to go, if there is such a source.
    entrance: Option<&'a Entrance>,
}

/// Marks a request whose sender was told to go on: it has been counted by the guard already.
struct Continued;

impl<'a> Visit<'a> {
    fn of(head: &'a RequestHead, caller: Option<&Caller>, rules: &'a Rules) -> Self {
        let name = path::source(head.uri.path());
        Self {
            head,
            caller: *caller.expect("every connection has its caller as its data"),
            started: Instant::now(),
            rules,
            entrance: name.and_then(|name| rules.sources.get(name.as_ref())),
        }
    }

    /// Whether it asks how the bridge is, and delivers nothing.
    fn is_health_check(&self) -> bool {
        let is_read = matches!(self.head.method, Method::GET | Method::HEAD);
        is_read && self.rules.health_path.as_deref() == Some(self.head.uri.path())
    }

    /// What the head alone decides.
    fn check(&self, pipeline: &Pipeline) -> Result<(&'a Entrance, Claim<'a>), Problem> {
        let entrance = self.entrance.ok_or(Problem::UnknownSource)?;
        if self.head.method != Method::POST {
            return Err(Problem::MethodNotAllowed);
        }
        body::check_headers(self.head, self.rules.limits.max_body_bytes)?;
        pipeline.open()?;
        let header = entrance.source.provider.scheme.header;
        let values = self.head.headers().get_all(header);
        let claim = entrance
            .source
            .read_signature(values.map(HeaderValue::as_bytes))?;
        Ok((entrance, claim))
    }

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
    /// What is logged of refused requests.
    pub refusals: Arc<RefusalLog>,
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
        let visit = Visit::of(request.head(), request.conn_data(), &rules);
        if visit.is_health_check() {
            return self.health(payload);
        }
        let is_admitted = request.extensions().contains::<Continued>();
        let passed = AssertUnwindSafe(self.pass(&visit, is_admitted, &mut payload))
            .catch_unwind()
            .await;
        let response = match passed.unwrap_or(Err(Problem::Internal)) {
            Ok(accepted) => ok(&accepted, visit.head),
            Err(problem) => self.refuse(&visit, problem, payload),
        };
        self.answered(&visit, response.status());
        response
    }

    /// Lets a sender that asks with `Expect: 100-continue` go on with the body (RFC 9110, section
    /// 10.1.1).
    ///
    /// # Errors
    /// With the answer, where the head decides: the body need not come.
    #[expect(
        clippy::result_large_err,
        reason = "the form that actix-http's service for `Expect` has"
    )]
    pub fn expect(&self, mut request: Request) -> Result<Request, HttpResponse> {
        let rules = self.rules.load_full();
        let payload = request.take_payload();
        let visit = Visit::of(request.head(), request.conn_data(), &rules);
        if !visit.is_health_check() {
            let passed = self
                .admit(&visit, false)
                .and_then(|_place| visit.check(&self.pipeline));
            if let Err(problem) = passed {
                let response = self.refuse(&visit, problem, payload);
                self.answered(&visit, response.status());
                return Err(response);
            }
            request.extensions_mut().insert(Continued);
        }
        let (request, _) = request.replace_payload(payload);
        Ok(request)
    }

    async fn pass(
        &self,
        visit: &Visit<'_>,
        is_admitted: bool,
        payload: &mut Payload,
    ) -> Result<Accepted, Problem> {
        let Visit { head, rules, .. } = *visit;
        let mut place = self.admit(visit, is_admitted)?;
        let (entrance, claim) = visit.check(&self.pipeline)?;
        let body = body::read(head, payload, &mut place, &rules.limits).await?;
        let entered = self.tracer.enter(trace(head));
        let inbound = Inbound {
            body,
            content_type: content_type(head),
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

    /// The answer to a request that is not accepted.
    fn refuse(&self, visit: &Visit<'_>, problem: Problem, unread: Payload) -> HttpResponse {
        self.count(visit.label(), problem);
        let client = visit.rules.guard.client(visit.caller, visit.head.headers());
        let id = self.refusals.note(Refused {
            head: visit.head,
            client,
            source: visit.label(),
            problem,
        });
        problem.response(unread, id)
    }

    /// Lets a request in among those that are answered, whatever it is about.
    fn admit(&self, visit: &Visit<'_>, is_admitted: bool) -> Result<Place<'_>, Problem> {
        if !is_admitted {
            visit
                .rules
                .guard
                .check(visit.caller, visit.head.headers())?;
        }
        let place = self.in_flight.enter(visit.rules.limits.max_in_flight);
        place.ok_or(Problem::Overloaded)
    }

    /// Says to a load balancer whether deliveries are taken, as `/readyz` does to operators. A body
    /// that it sends is not read.
    fn health(&self, unread: Payload) -> HttpResponse {
        let is_ready = self.pipeline.ready().is_ok();
        let mut response = if is_ready {
            HttpResponse::Ok()
        } else {
            HttpResponse::ServiceUnavailable()
        };
        if !is_ready {
            // As every answer but 200 does.
            response.force_close();
        }
        let response = response.body(Early::new(String::new(), unread));
        self.metrics
            .http_health_checks_total
            .with_label_values(&[response.status().as_str()])
            .inc();
        response
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
        let known_since = || self.pipeline.spool.remembers_since();
        let result = claim.verify(inbound, now, known_since);
        if !matches!(result, Err(Rejection::SignatureMismatch)) {
            #[allow(clippy::cast_precision_loss, reason = "a histogram of seconds")]
            entrance.age_seconds.observe(age as f64);
        }
        if let Ok(verified) = &result {
            let source = entrance.source.name.as_str();
            self.show_use(source, verified.secret(), now);
            if verified.is_late() {
                let late = &self.metrics.deliveries_late_total;
                late.with_label_values(&[source]).inc();
            }
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

/// The content type, which travels with the event; one that is too long for AMQP's short string, or is
/// not visible ASCII, does not.
fn content_type(head: &RequestHead) -> Option<String> {
    let value = head.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    (value.len() <= usize::from(u8::MAX)).then(|| value.to_owned())
}

/// The trace the request says it belongs to.
fn trace(head: &RequestHead) -> Option<TraceContext> {
    let mut parents = head.headers().get_all("traceparent");
    // Two of them contradict each other.
    let (parent, None) = (parents.next()?, parents.next()) else {
        return None;
    };
    let states = head.headers().get_all("tracestate");
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
fn ok(accepted: &Accepted, head: &RequestHead) -> HttpResponse {
    let body = format!(
        "{{\"id\":\"{}\",\"status\":\"{}\"}}",
        accepted.id(),
        accepted.status().as_str()
    );
    let mut response = HttpResponse::Ok();
    if head.upgrade() {
        // Sent before the answer to the request before it, the offer could not be overwritten: the
        // server ends the connection after this answer, and says so only if it is told to.
        response.force_close();
    }
    response
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(body)
}
