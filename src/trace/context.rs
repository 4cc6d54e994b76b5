//! The W3C trace context (Trace Context Level 2, sections 3.2 and 3.3): `traceparent` says which
//! span of which trace something belongs to, `tracestate` is what tracing systems tell each other.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The longest `tracestate` that is kept; the standard asks for at least this much (section 3.3.1.5).
const MAX_STATE_BYTES: usize = 512;
/// Section 3.3.1.1.
const MAX_STATE_MEMBERS: usize = 32;
/// Section 3.3.1.3: a key, and a value.
const MAX_MEMBER_PART_BYTES: usize = 256;

/// Where a `traceparent` of version 00 holds its parts (section 3.2.2), as hex.
const TRACE: Range<usize> = 3..35;
const SPAN: Range<usize> = 36..52;
const FLAGS: Range<usize> = 53..55;

/// A span's id.
pub type SpanId = [u8; 8];

/// A valid `traceparent` value of version 00.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceParent(String);

/// A valid `tracestate` value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceState(String);

/// Where something belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, and the span.
    pub parent: TraceParent,
    /// What came along.
    pub state: Option<TraceState>,
}

impl TraceContext {
    /// The context that came with a request, from the values of its headers. A `tracestate` without
    /// a valid `traceparent` says nothing (section 4.2), and an invalid one is left behind.
    #[must_use]
    pub fn received<'a>(
        parent: Option<&str>,
        states: impl Iterator<Item = &'a str>,
    ) -> Option<Self> {
        Some(Self {
            parent: TraceParent::parse(parent?)?,
            state: TraceState::parse(states),
        })
    }

    /// A new trace.
    #[must_use]
    pub fn start(sampled: bool) -> Self {
        let trace = valid(rand::random());
        Self {
            parent: TraceParent::of(trace, new_span_id(), sampled),
            state: None,
        }
    }

    /// The same trace, seen from a new span.
    #[must_use]
    pub fn span(&self) -> Self {
        let parent = &self.parent;
        Self {
            parent: TraceParent::of(parent.trace_id(), new_span_id(), parent.is_sampled()),
            state: self.state.clone(),
        }
    }
}

impl TraceParent {
    /// Reads a header's value. Of a version that is not known yet, what it has in common with the
    /// known one is taken, and the rest is left behind (section 3.2.4).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let mut field = |length| fields.next().filter(|field| is_hex(field, length));
        let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let has_more = fields.next().is_some();
        if version == "ff" || is_zero(trace) || is_zero(span) {
            return None;
        }
        match version {
            "00" if has_more => None,
            "00" => Some(Self(text.to_owned())),
            _ => {
                let known = Self(format!("00-{trace}-{span}-{flags}"));
                Some(Self::of(
                    known.trace_id(),
                    known.span_id(),
                    known.is_sampled(),
                ))
            }
        }
    }

    /// Written in place, because one is made for each delivery that comes without.
    fn of(trace: [u8; 16], span: SpanId, sampled: bool) -> Self {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let flags = [u8::from(sampled)];
        for (part, place) in [(&trace[..], TRACE), (&span, SPAN), (&flags, FLAGS)] {
            hex::encode_to_slice(part, &mut value[place])
                .expect("each place holds two digits for each byte of its part");
        }
        Self(String::from_utf8(value.to_vec()).expect("digits, letters and hyphens are ASCII"))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes of one part; all zero where what was stored is no longer valid.
    fn part<const N: usize>(&self, place: Range<usize>) -> [u8; N] {
        let digits = self.0.get(place).unwrap_or_default();
        let mut bytes = [0; N];
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) => bytes,
            Err(_) => [0; N],
        }
    }

    /// The trace's id; all zero, which is none, where what was stored is no longer valid.
    #[must_use]
    pub fn trace_id(&self) -> [u8; 16] {
        self.part(TRACE)
    }

    /// The span's id; as above.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.part(SPAN)
    }

    /// Whether whoever started the trace, or came before us in it, records it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        let [flags] = self.part(FLAGS);
        flags & 1 == 1
    }
}

impl TraceState {
    /// Reads the values of all `tracestate` headers of a request, which are one list.
    #[must_use]
    pub fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut keys = Vec::new();
        let mut members = Vec::new();
        for member in lines.flat_map(|line| line.split(',')) {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            if !is_key(key) || !is_value(value) || keys.contains(&key) {
                return None;
            }
            keys.push(key);
            members.push(member);
        }
        let list = members.join(",");
        let fits = (1..=MAX_STATE_MEMBERS).contains(&members.len());
        (fits && list.len() <= MAX_STATE_BYTES).then_some(Self(list))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn new_span_id() -> SpanId {
    valid(rand::random())
}

/// All zero would be no id (sections 3.2.2.3 and 3.2.2.4).
fn valid<const N: usize>(id: [u8; N]) -> [u8; N] {
    if id == [0; N] { [1; N] } else { id }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|b| b == b'0')
}

fn is_key(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_part = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    starts && text.len() <= MAX_MEMBER_PART_BYTES && text.bytes().all(is_part)
}

fn is_value(text: &str) -> bool {
    let is_part = |b| matches!(b, b' '..=b'~') && b != b'=';
    (1..=MAX_MEMBER_PART_BYTES).contains(&text.len()) && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parent(text: &str) -> Option<String> {
        TraceParent::parse(text).map(|parent| parent.0)
    }

    fn state(lines: &[&str]) -> Option<String> {
        TraceState::parse(lines.iter().copied()).map(|state| state.0)
    }

    #[test]
    fn a_valid_parent_passes_through_and_says_what_it_says() {
        let parsed = TraceParent::parse(VALID).expect("valid");
        assert_eq!(parsed.as_str(), VALID);
        assert!(parsed.is_sampled());
        assert_eq!(
            hex::encode(parsed.trace_id()),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(hex::encode(parsed.span_id()), "00f067aa0ba902b7");
        let unsampled = VALID.replace("-01", "-02");
        let parsed = TraceParent::parse(&unsampled).expect("valid");
        assert!(!parsed.is_sampled() && parsed.as_str() == unsampled);
    }

    #[test]
    fn of_a_later_version_the_known_part_is_taken() {
        let later = VALID.replace("00-4b", "cc-4b");
        assert_eq!(parent(&later).as_deref(), Some(VALID));
        assert_eq!(
            parent(&format!("{later}-what-ever")).as_deref(),
            Some(VALID)
        );
        let flags = later.replace("b7-01", "b7-fe");
        assert_eq!(parent(&flags), Some(VALID.replace("b7-01", "b7-00")));
    }

    #[test]
    fn anything_else_is_no_parent() {
        let zero = "0".repeat(32);
        for text in [
            "",
            "x",
            "é",
            &VALID[1..],
            &VALID[..54],
            &VALID.to_uppercase(),
            &format!("{VALID}-00"),
            &format!("{VALID}x"),
            &VALID.replace("00-4b", "ff-4b"),
            &VALID.replace("00f067aa0ba902b7", "0000000000000000"),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zero),
            &format!("{}x", VALID.replace("00-4b", "cc-4b")),
        ] {
            assert_eq!(parent(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_new_trace_and_a_new_span_are_valid() {
        let started = TraceContext::start(true);
        assert_eq!(
            parent(started.parent.as_str()).as_deref(),
            Some(started.parent.as_str())
        );
        let span = started.span();
        assert_eq!(span.parent.trace_id(), started.parent.trace_id());
        assert_ne!(span.parent.span_id(), started.parent.span_id());
        assert!(span.parent.is_sampled() && !TraceContext::start(false).parent.is_sampled());
        assert_ne!(
            TraceContext::start(false).parent.trace_id(),
            started.parent.trace_id()
        );
    }

    #[test]
    fn a_state_is_one_list_over_all_its_headers() {
        assert_eq!(state(&["a=1"]).as_deref(), Some("a=1"));
        let both = state(&["rojo=00f067aa0ba902b7 , ", "congo=t61rc~ x", ""]);
        assert_eq!(
            both.as_deref(),
            Some("rojo=00f067aa0ba902b7,congo=t61rc~ x")
        );
        assert_eq!(
            state(&["fw529a3039@dt=x"]).as_deref(),
            Some("fw529a3039@dt=x")
        );
    }

    #[test]
    fn a_state_that_is_none_is_left_behind() {
        let long = "x".repeat(257);
        let many: Vec<String> = (0..33).map(|n| format!("k{n}=v")).collect();
        for lines in [
            &[][..],
            &[""],
            &["a"],
            &["a="],
            &["=1"],
            &["A=1"],
            &["a=1,a=2"],
            &["a=1=2"],
            &["a=\u{e9}"],
            &["a=\u{7f}"],
            &[&format!("a={long}")],
            &[&format!("{long}=a")],
            &[&many.join(",")],
            &[&format!("a={0},b={0},c={0}", "x".repeat(200))],
        ] {
            assert_eq!(state(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_state_without_a_parent_says_nothing() {
        let received = |parent| TraceContext::received(parent, ["a=1"].into_iter());
        assert_eq!(received(None), None);
        assert_eq!(received(Some("x")), None);
        let kept = received(Some(VALID)).expect("valid");
        assert_eq!(kept.state.expect("kept").as_str(), "a=1");
    }
}
