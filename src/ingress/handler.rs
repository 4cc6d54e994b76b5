//! The handler of webhook requests: what one must pass, in order, to become an accepted event.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use actix_http::Request;
use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use jiff::Timestamp;

use super::answer;
use super::body;
use super::delivery_recording::DeliveryRecording;
use super::endpoint::SourceEndpoint;
use super::handshake_result::HandshakeResult;
use super::in_flight::{InFlight, InFlightPermit};
use super::problem::{EarlyBody, RequestProblem};
use super::refusal_log::{RefusalLog, RefusedRequest};
use super::rules::HandlerRules;
use super::webhook_request::WebhookRequest;
use crate::history::{DeliveryNotes, SignatureFacts};
use crate::metrics::Metrics;
use crate::pipeline::{Accepted, Pipeline, Refusal};
use crate::source::{
    AnswerForm, Claim, HandshakeReply, Inbound, ProofLabel, Rejection, Source, Verified,
};
use crate::trace::{SpanWork, Tracer};

/// Marks a request whose sender was sent `100 Continue`: the rate limits have counted it already.
struct ContinueSent;

/// A request that is answered 200.
enum Passed {
    /// Its delivery is accepted, and answered in this form.
    Delivery(Accepted, AnswerForm),
    /// It is a handshake.
    Handshake(HandshakeReply),
}

/// The handler. Cloning it shares all that it has.
#[derive(Debug, Clone)]
pub struct WebhookHandler {
    /// What it goes by now.
    pub rules: Arc<ArcSwap<HandlerRules>>,
    /// The requests that are being answered.
    pub in_flight: Arc<InFlight>,
    /// Where accepted events go.
    pub pipeline: Pipeline,
    /// The traces of deliveries.
    pub tracer: Tracer,
    /// What is logged of refused requests.
    pub refusals: Arc<RefusalLog>,
    /// Where all is counted.
    pub metrics: Arc<Metrics>,
}

impl WebhookHandler {
    /// The handler for the requests of one thread; what is returned with it runs there: see
    /// [`Pipeline::for_this_thread`].
    pub(super) fn for_this_thread(&self) -> (Self, impl Future<Output = ()> + 'static) {
        let (pipeline, answering) = self.pipeline.for_this_thread();
        let handler = Self {
            pipeline,
            ..self.clone()
        };
        (handler, answering)
    }

    /// Answers one request.
    pub async fn handle(&self, request: &HttpRequest, mut payload: Payload) -> HttpResponse {
        let rules = self.rules.load_full();
        let webhook = WebhookRequest::of(request.head(), request.conn_data(), &rules);
        if webhook.is_health_check() {
            return self.health(payload);
        }
        let is_admitted = request.extensions().contains::<ContinueSent>();
        let mut recording = DeliveryRecording::of(&webhook, &self.pipeline.recorder);
        let accepting = self.accept(&webhook, is_admitted, &mut payload, &mut recording.notes);
        let passed = AssertUnwindSafe(accepting).catch_unwind().await;
        let proof = recording.proof();
        let response = match passed.unwrap_or(Err(RequestProblem::Internal)) {
            Ok(Passed::Delivery(accepted, form)) => {
                recording.accepted(&accepted);
                answer::to_delivery(&accepted, form, webhook.head)
            }
            Ok(Passed::Handshake(reply)) => {
                recording.handshake();
                self.count_handshake(&webhook, HandshakeResult::Answered);
                answer::to_handshake(reply, payload)
            }
            Err(problem) => self.refuse(recording, problem, payload),
        };
        self.count_answer(&webhook, response.status(), proof);
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
    pub fn expect_continue(&self, mut request: Request) -> Result<Request, HttpResponse> {
        let rules = self.rules.load_full();
        let payload = request.take_payload();
        let webhook = WebhookRequest::of(request.head(), request.conn_data(), &rules);
        if !webhook.is_health_check() {
            let passed =
                self.admit(&webhook, false)
                    .and_then(|_permit| match webhook.handshake()? {
                        Some(_) => Ok(()),
                        None => webhook.check(&self.pipeline).map(drop),
                    });
            if let Err(problem) = passed {
                let recording = DeliveryRecording::of(&webhook, &self.pipeline.recorder);
                let response = self.refuse(recording, problem, payload);
                self.count_answer(&webhook, response.status(), ProofLabel::Unproven);
                return Err(response);
            }
            request.extensions_mut().insert(ContinueSent);
        }
        let (request, _) = request.replace_payload(payload);
        Ok(request)
    }

    async fn accept(
        &self,
        webhook: &WebhookRequest<'_>,
        is_admitted: bool,
        payload: &mut Payload,
        notes: &mut DeliveryNotes,
    ) -> Result<Passed, RequestProblem> {
        let WebhookRequest { head, rules, .. } = *webhook;
        let mut permit = self.admit(webhook, is_admitted)?;
        if let Some(reply) = webhook.handshake()? {
            return Ok(Passed::Handshake(reply));
        }
        let (endpoint, claim) = webhook.check(&self.pipeline)?;
        let body = body::read(head, payload, &mut permit, &webhook.limits()).await?;
        let entered = self.tracer.enter(webhook.trace_context());
        let inbound = Inbound {
            body,
            content_type: webhook.content_type(),
            trace: entered.context.clone(),
        };
        let proven = self.verify(endpoint, claim, inbound);
        let (verified, signature) = proven.map_err(|rejection| endpoint.problem(rejection))?;
        notes.signature = Some(signature);
        endpoint.take()?;
        if let Some(reply) = endpoint.source().signed_handshake(&verified) {
            return Ok(Passed::Handshake(reply?));
        }
        let accepted = self.pipeline.accept(verified, &rules.terms, notes).await;
        // Only what was proven: nobody else may fill the collector.
        self.tracer.received(entered, || {
            work(endpoint.source(), webhook.started, &accepted)
        });
        Ok(Passed::Delivery(accepted?, endpoint.settings().answer))
    }

    /// The answer to a request that is not accepted.
    fn refuse(
        &self,
        recording: DeliveryRecording<'_>,
        problem: RequestProblem,
        unread: Payload,
    ) -> HttpResponse {
        let webhook = recording.webhook;
        self.count_refusal(webhook, problem, recording.proof());
        let client = webhook
            .rules
            .access
            .client(webhook.peer, webhook.head.headers());
        let id = self.refusals.write(RefusedRequest {
            head: webhook.head,
            client,
            source: webhook.label(),
            problem,
        });
        recording.refused(problem, client, &id);
        problem.response(unread, &id)
    }

    /// Lets a request in by access control and by the number that are being answered, whatever it is
    /// about.
    fn admit(
        &self,
        webhook: &WebhookRequest<'_>,
        is_admitted: bool,
    ) -> Result<InFlightPermit<'_>, RequestProblem> {
        if !is_admitted {
            webhook
                .rules
                .access
                .check(webhook.peer, webhook.head.headers())?;
        }
        let permit = self.in_flight.acquire(webhook.rules.limits.max_in_flight);
        permit.ok_or(RequestProblem::Overloaded)
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
        let response = response.body(EarlyBody::new(String::new(), unread));
        self.metrics
            .http_health_checks_total
            .with_label_values(&[response.status().as_str()])
            .inc();
        response
    }

    /// Proves the delivery, and shows operators how far the sender's clock is off.
    fn verify(
        &self,
        endpoint: &SourceEndpoint,
        claim: Claim<'_>,
        inbound: Inbound,
    ) -> Result<(Verified, SignatureFacts), Rejection> {
        let now = Timestamp::now();
        let signed = claim.prove(inbound)?;
        let age_seconds = signed.age_seconds(now);
        if let Some(age) = age_seconds {
            #[allow(clippy::cast_precision_loss, reason = "a histogram of seconds")]
            endpoint.age_seconds.observe(age as f64);
        }
        let known_since = || self.pipeline.spool.remembers_since();
        let verified = signed.accept(now, known_since)?;
        let source = endpoint.source().name.as_str();
        self.show_secret_use(source, verified.secret(), now);
        if verified.is_late() {
            let late = &self.metrics.deliveries_late_total;
            late.with_label_values(&[source]).inc();
        }
        let facts = SignatureFacts {
            verified_at: now,
            age_seconds,
            secret: verified.secret(),
        };
        Ok((verified, facts))
    }

    /// Shows that a secret was used, unless a reload has taken it away since the request came: its
    /// series is gone, and must not come back.
    fn show_secret_use(&self, source: &str, secret: usize, now: Timestamp) {
        let rules = self.rules.load();
        let secrets = rules
            .endpoints
            .get(source)
            .map(|it| it.source().secrets.len());
        if secrets.is_some_and(|secrets| secret < secrets) {
            self.metrics
                .secret_last_used_timestamp_seconds
                .with_label_values(&[source, &secret.to_string()])
                .set(now.as_second());
        }
    }

    /// Counts and times the answer.
    fn count_answer(&self, webhook: &WebhookRequest<'_>, code: StatusCode, proof: ProofLabel) {
        match webhook.endpoint {
            Some(endpoint) if code == StatusCode::OK => endpoint.answered_ok.inc(),
            _ => self
                .metrics
                .http_requests_total
                .with_label_values(&[webhook.label(), code.as_str()])
                .inc(),
        }
        let seconds = webhook.started.elapsed().as_secs_f64();
        match webhook.endpoint {
            Some(endpoint) if proof == ProofLabel::Proven => {
                endpoint.proven_answer_seconds.observe(seconds);
            }
            _ => self
                .metrics
                .http_request_duration_seconds
                .with_label_values(&[proof.as_str()])
                .observe(seconds),
        }
    }

    fn count_handshake(&self, webhook: &WebhookRequest<'_>, result: HandshakeResult) {
        self.metrics
            .handshakes_total
            .with_label_values(&[webhook.label(), result.as_str()])
            .inc();
    }

    fn count_refusal(
        &self,
        webhook: &WebhookRequest<'_>,
        problem: RequestProblem,
        proof: ProofLabel,
    ) {
        match problem {
            RequestProblem::HandshakeMismatch | RequestProblem::HandshakeRefused => {
                self.count_handshake(webhook, HandshakeResult::Refused);
            }
            refusal if refusal.is_refusal() => self
                .metrics
                .deliveries_refused_total
                .with_label_values(&[problem.reason(), proof.as_str()])
                .inc(),
            other => self
                .metrics
                .deliveries_rejected_total
                .with_label_values(&[webhook.label(), other.reason()])
                .inc(),
        }
    }
}

/// What was done with a proven delivery, in the words of OpenTelemetry's semantic conventions.
fn work(source: &Source, started: Instant, result: &Result<Accepted, Refusal>) -> SpanWork {
    let path = format!("/webhooks/{}", source.name);
    let mut attributes = vec![
        ("http.request.method", Method::POST.to_string()),
        ("hookferry.source", source.name.to_string()),
    ];
    if let Ok(accepted) = result {
        attributes.push(("messaging.message.id", accepted.id().to_string()));
        attributes.push(("hookferry.status", accepted.status().as_str().to_owned()));
    }
    SpanWork {
        name: format!("POST {path}"),
        started,
        attributes: attributes
            .into_iter()
            .chain([("http.route", path)])
            .collect(),
        error: result.as_ref().err().map(|refusal| refusal.reason()),
    }
}
