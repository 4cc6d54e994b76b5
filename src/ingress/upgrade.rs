//! A filter that makes the HTTP server overlook offers to upgrade the connection to another protocol.
//!
//! A server may ignore them (RFC 9110, section 7.8), and senders rely on it: a proxy passes
//! `Connection: upgrade` on with every request, and some clients offer `h2c` with each. actix-http
//! cannot be told to: after `Connection: upgrade` it ends the connection without a word, and with
//! `Upgrade: websocket` it takes all that follows on the connection for the body. So the values of the
//! two headers are overwritten, each by as many bytes, while a request's head comes in.

/// What stands in the place of a letter that is overwritten: it may be part of any token.
const BLANK: u8 = b'-';
/// The option of `Connection` that asks for it.
const OPTION: &[u8] = b"upgrade";

/// A header field whose value is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Connection,
    Upgrade,
}

impl Field {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Connection => b"connection",
            Self::Upgrade => b"upgrade",
        }
    }

    fn beginning_with(letter: u8) -> Option<Self> {
        [Self::Connection, Self::Upgrade]
            .into_iter()
            .find(|field| field.name()[0] == letter.to_ascii_lowercase())
    }
}

/// Where in a line the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePosition {
    /// At its beginning.
    Start,
    /// In a name, of which so many letters are those of this field's.
    Name(Field, usize),
    /// In this field's value; so many letters of an option are those of [`OPTION`], if it may still
    /// be that.
    Value(Field, Option<usize>),
    /// In a line that does not matter.
    Elsewhere,
}

/// The filter of one request's head, whose bytes come in, in however many parts.
#[derive(Debug)]
pub(super) struct UpgradeFilter {
    position: LinePosition,
    has_ended: bool,
}

impl UpgradeFilter {
    /// A filter for a head of which nothing has come.
    pub fn new() -> Self {
        Self {
            position: LinePosition::Start,
            has_ended: false,
        }
    }

    /// A filter that leaves everything alone, because the head's beginning was not seen.
    pub fn unseen() -> Self {
        Self {
            has_ended: true,
            ..Self::new()
        }
    }

    /// Overwrites what of an offer stands in the next bytes. What follows the head is left alone.
    pub fn overwrite(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes.iter_mut();
        while !self.has_ended
            && let Some(byte) = rest.next()
        {
            match (self.position, *byte) {
                (LinePosition::Start, b'\n') => self.has_ended = true,
                (LinePosition::Start, b'\r') => {}
                (_, b'\n') => self.position = LinePosition::Start,
                (LinePosition::Elsewhere, _) => {
                    if rest.any(|byte| *byte == b'\n') {
                        self.position = LinePosition::Start;
                    }
                }
                (position, _) => self.position = next(position, byte),
            }
        }
    }
}

/// Where the byte after this one stands.
fn next(position: LinePosition, byte: &mut u8) -> LinePosition {
    match position {
        LinePosition::Start => Field::beginning_with(*byte)
            .map_or(LinePosition::Elsewhere, |field| {
                LinePosition::Name(field, 1)
            }),
        LinePosition::Name(field, known) => match field.name().get(known) {
            Some(letter) if letter.eq_ignore_ascii_case(byte) => {
                LinePosition::Name(field, known + 1)
            }
            None if *byte == b':' => LinePosition::Value(field, Some(0)),
            _ => LinePosition::Elsewhere,
        },
        LinePosition::Value(Field::Upgrade, _) => {
            if byte.is_ascii_graphic() {
                *byte = BLANK;
            }
            position
        }
        LinePosition::Value(Field::Connection, known) => {
            LinePosition::Value(Field::Connection, next_in_option(known, byte))
        }
        LinePosition::Elsewhere => position,
    }
}

fn next_in_option(known: Option<usize>, byte: &mut u8) -> Option<usize> {
    if matches!(*byte, b',' | b' ' | b'\t') {
        return Some(0);
    }
    let known = known?;
    let is_next = OPTION
        .get(known)
        .is_some_and(|letter| letter.eq_ignore_ascii_case(byte));
    if is_next && known + 1 == OPTION.len() {
        // One letter is enough to make it another option; those before may have passed already.
        *byte = BLANK;
    }
    is_next.then_some(known + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server sees of `text`, which comes in parts of `size` bytes.
    fn seen(text: &str, size: usize) -> String {
        let mut filter = UpgradeFilter::new();
        let mut bytes = text.as_bytes().to_vec();
        for part in bytes.chunks_mut(size) {
            filter.overwrite(part);
        }
        String::from_utf8(bytes).expect("letters stay letters")
    }

    #[test]
    fn offers_are_overwritten_however_they_are_cut() {
        for (sent, expected) in [
            ("Connection: upgrade\r\n", "Connection: upgrad-\r\n"),
            (
                "connection:keep-alive , Upgrade,close\r\n",
                "connection:keep-alive , Upgrad-,close\r\n",
            ),
            ("UPGRADE: websocket\r\n", "UPGRADE: ---------\r\n"),
            ("Upgrade: h2c, a/1\r\n", "Upgrade: ---- ---\r\n"),
            ("Connection: Upgrade\n", "Connection: Upgrad-\n"),
        ] {
            let head = |line: &str| format!("POST /webhooks/x HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(
                    seen(&head(sent), size),
                    head(expected),
                    "{sent:?} by {size}"
                );
            }
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            "POST /upgrade HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
            "POST / HTTP/1.1\r\nConnection: close, xupgrade, upgrad\r\n\r\n",
            "POST / HTTP/1.1\r\nUpgrade-Insecure-Requests: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nConnections: upgrade\r\nX-Upgrade: websocket\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "POST / HTTP/1.1\n\nUpgrade: websocket\n",
            // The end of a head that began behind another request, and then a body.
            "\r\nUpgrade: websocket\r\n",
            "CONNECTION: /\u{e9}\r\n: upgrade\r\n\r\n",
        ] {
            for size in [1, 5, 1000] {
                assert_eq!(seen(text, size), text, "by {size}");
            }
        }
    }
}
