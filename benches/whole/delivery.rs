//! Deliveries as the provider sends them: each its own event, with a right signature, made in place
//! in one buffer so that the sender costs little beside what it measures.

use std::ops::Range;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

/// The source's name in every configuration here.
pub const SOURCE: &str = "onecodex";
/// The secret of that source.
pub const SECRET: &str = "whsec_benchmark";

const TIME: &str = "%Y-%m-%dT%H:%M:%S%.6f+00:00";
const TIME_BYTES: usize = 32;
const OBJECT_BYTES: usize = 16;
const SECONDS_BYTES: usize = 10;
const TAG_BYTES: usize = 64;

/// The events of one run: which objects they are about, and when they happened.
#[derive(Debug, Clone, Copy)]
pub struct Events {
    /// When the first happened, in Unix microseconds; each next one is a microsecond later, which no
    /// sender overtakes: so no two runs have an event in common.
    pub from: i64,
    /// How many objects they are about in turn; 0 for an object of its own for each.
    pub objects: u64,
}

impl Events {
    /// Events that happen from now on.
    pub fn from_now(objects: u64) -> Self {
        Self {
            from: Timestamp::now().as_microsecond(),
            objects,
        }
    }

    /// The object that event `number` is about, of as many bytes as One Codex's ids.
    pub fn object(self, number: u64) -> String {
        let object = if self.objects == 0 {
            self.from.unsigned_abs() + number
        } else {
            number % self.objects
        };
        format!("{object:016x}")
    }

    /// When event `number` happened.
    pub fn time(self, number: u64) -> String {
        let micros = self.from + i64::try_from(number).unwrap_or(i64::MAX);
        Timestamp::from_microsecond(micros)
            .expect("microseconds of this century")
            .strftime(TIME)
            .to_string()
    }
}

/// A request in a buffer, and where in it the parts lie that differ from event to event.
#[derive(Debug, Clone)]
pub struct Delivery {
    events: Events,
    key: Hmac<Sha256>,
    bytes: Vec<u8>,
    body: usize,
    seconds: Range<usize>,
    tag: Range<usize>,
    time: Range<usize>,
    object: Range<usize>,
}

impl Delivery {
    /// A request whose body has so many bytes, or as few as an event needs.
    pub fn new(events: Events, body_bytes: usize) -> Self {
        let mut body = Parts::default();
        body.text("{\"api_version\":\"v1\",\"event_type\":\"sample.uploaded\",\"object_type\":\"sample\",\"triggered_at\":\"");
        let time = body.hole(TIME_BYTES);
        body.text("\",\"object\":{\"$uri\":\"/api/v1/samples/");
        let object = body.hole(OBJECT_BYTES);
        body.text("\",\"filename\":\"run_07.fastq.gz\",\"visibility\":\"private\",\"notes\":\"");
        let closing = "\"}}";
        body.fill(body_bytes.saturating_sub(closing.len()));
        body.text(closing);

        let mut head = Parts::default();
        head.text(&format!("POST /webhooks/{SOURCE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-OneCodex-Signature: t="));
        let seconds = head.hole(SECONDS_BYTES);
        head.text(" v1=");
        let tag = head.hole(TAG_BYTES);
        head.text(&format!("\r\nContent-Length: {}\r\n\r\n", body.0.len()));

        let start = head.0.len();
        let shift = |range: Range<usize>| range.start + start..range.end + start;
        Self {
            events,
            key: Hmac::new_from_slice(SECRET.as_bytes()).expect("any key will do"),
            bytes: [head.0, body.0].concat(),
            body: start,
            seconds,
            tag,
            time: shift(time),
            object: shift(object),
        }
    }

    /// Makes it the delivery of event `number`, signed now.
    pub fn number(&mut self, number: u64) -> &[u8] {
        self.event(number);
        let seconds = Timestamp::now().as_second().to_string();
        let mut mac = self.key.clone();
        mac.update(seconds.as_bytes());
        mac.update(b".");
        mac.update(&self.bytes[self.body..]);
        let tag = hex::encode(mac.finalize().into_bytes());
        self.put(self.seconds.clone(), &seconds);
        self.put(self.tag.clone(), &tag);
        &self.bytes
    }

    /// The body of event `number`, unsigned.
    pub fn body(&mut self, number: u64) -> &[u8] {
        self.event(number);
        &self.bytes[self.body..]
    }

    fn event(&mut self, number: u64) {
        let (time, object) = (self.events.time(number), self.events.object(number));
        self.put(self.time.clone(), &time);
        self.put(self.object.clone(), &object);
    }

    fn put(&mut self, place: Range<usize>, text: &str) {
        self.bytes[place].copy_from_slice(text.as_bytes());
    }
}

#[derive(Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn hole(&mut self, bytes: usize) -> Range<usize> {
        let start = self.0.len();
        self.0.resize(start + bytes, b'-');
        start..self.0.len()
    }

    fn fill(&mut self, bytes: usize) {
        self.0.resize(bytes.max(self.0.len()), b'x');
    }
}
