//! The recording of a delivery: what is noted of it while it is handled becomes one record of the
//! history once it is answered, or once its sender has hung up.

use jiff::Timestamp;

use super::client::Client;
use super::problem::RequestProblem;
use super::request_id::RequestId;
use super::webhook_request::WebhookRequest;
use crate::history::{
    DeliveryNotes, DeliveryOutcome, DeliveryRecord, EventNotes, LastRejection, Recorder, UnixMicros,
};
use crate::pipeline::Accepted;
use crate::source::{EventOrigin, ProofLabel};

/// The recording of one request.
pub(super) struct DeliveryRecording<'a> {
    pub webhook: &'a WebhookRequest<'a>,
    recorder: &'a Recorder,
    /// What is noted so far.
    pub notes: DeliveryNotes,
    is_over: bool,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy)]
struct RecordedAnswer<'a> {
    outcome: DeliveryOutcome,
    status: u16,
    reason: Option<&'static str>,
    request_id: Option<&'a str>,
}

impl<'a> DeliveryRecording<'a> {
    /// Begins it.
    pub fn of(webhook: &'a WebhookRequest<'a>, recorder: &'a Recorder) -> Self {
        Self {
            webhook,
            recorder,
            notes: DeliveryNotes::default(),
            is_over: false,
        }
    }

    /// Whether the request is proven, as far as that is known by now.
    pub fn proof(&self) -> ProofLabel {
        if self.notes.signature.is_some() {
            ProofLabel::Proven
        } else {
            ProofLabel::Unproven
        }
    }

    /// The delivery is answered 200.
    pub fn accepted(mut self, accepted: &Accepted) {
        let answer = RecordedAnswer {
            outcome: accepted.status().into(),
            status: 200,
            reason: None,
            request_id: None,
        };
        self.end(answer, self.client());
    }

    /// The request is a handshake, which is no delivery.
    pub fn handshake(mut self) {
        self.is_over = true;
    }

    /// The request is answered with this problem.
    pub fn refused(mut self, problem: RequestProblem, client: Client, request_id: &RequestId) {
        let outcome = if problem.is_refusal() {
            DeliveryOutcome::Refused
        } else {
            DeliveryOutcome::Rejected
        };
        let (status, reason) = (problem.status().as_u16(), problem.reason());
        let answer = RecordedAnswer {
            outcome,
            status,
            reason: Some(reason),
            request_id: Some(request_id.as_str()),
        };
        let answered_at = self.end(answer, client);
        let last = LastRejection {
            at: answered_at,
            source: self.webhook.label().to_owned(),
            address: Some(client.counted_as()),
            request_id: request_id.as_str().to_owned(),
            status,
        };
        self.recorder.rejection(reason, last);
    }

    fn client(&self) -> Client {
        let WebhookRequest {
            head, peer, rules, ..
        } = self.webhook;
        rules.access.client(*peer, head.headers())
    }

    /// Records it; tells when it was answered.
    fn end(&mut self, answer: RecordedAnswer<'_>, client: Client) -> Timestamp {
        self.is_over = true;
        let took = self.webhook.started.elapsed();
        let answered_at = UnixMicros::now();
        self.recorder.delivery(&DeliveryRecord {
            answered_at,
            took,
            source: self.webhook.label(),
            origin: EventOrigin::Webhook,
            address: Some(client.counted_as()),
            outcome: answer.outcome,
            status: answer.status,
            reason: answer.reason,
            request_id: answer.request_id,
            signature: self.notes.signature,
            event: self.notes.event.as_ref().map(EventNotes::facts),
        });
        answered_at.timestamp()
    }
}

impl Drop for DeliveryRecording<'_> {
    /// Nobody waits for the answer any more; where there is an event, it goes its way all the same.
    fn drop(&mut self) {
        if self.is_over || self.notes.event.is_none() {
            return;
        }
        let answer = RecordedAnswer {
            outcome: DeliveryOutcome::Abandoned,
            status: 0,
            reason: None,
            request_id: None,
        };
        self.end(answer, self.client());
    }
}
