//! The fields that records of every kind have, as bytes: numbers in their own width and texts behind
//! their length, because they are written for each event.

use super::unix_micros::UnixMicros;
use crate::event::EventId;

/// The longest text of a record, in bytes; more of it is left out.
const MAX_TEXT_BYTES: usize = 400;

/// Appends a text, or as much of it as a record keeps, to a whole character.
pub(super) fn put_text(to: &mut Vec<u8>, text: &str) {
    let kept = if text.len() <= MAX_TEXT_BYTES {
        text
    } else {
        &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
    };
    let length = u16::try_from(kept.len()).expect("it is bounded");
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(kept.as_bytes());
}

/// What is left to be read of a record. Each part is none where the bytes are something else.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldReader<'a>(pub &'a [u8]);

impl<'a> FieldReader<'a> {
    /// The next bytes, so many.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// The next time.
    pub fn time(&mut self) -> Option<UnixMicros> {
        self.array().map(UnixMicros::from_le_bytes)
    }

    /// The next event id.
    pub fn id(&mut self) -> Option<EventId> {
        self.array().map(EventId::from_bytes)
    }

    /// The next text.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// The next text, which is there unless it is empty.
    pub fn optional_text(&mut self) -> Option<Option<&'a str>> {
        Some(Some(self.text()?).filter(|text| !text.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_beginning_is_kept_to_a_whole_character() {
        let kept = |text: &str| {
            let mut bytes = Vec::new();
            put_text(&mut bytes, text);
            FieldReader(&bytes).text().map(str::to_owned)
        };
        assert_eq!(kept("short").as_deref(), Some("short"));
        let long = "\u{e9}".repeat(MAX_TEXT_BYTES);
        let half = kept(&long).expect("a text");
        assert_eq!(half.chars().count(), MAX_TEXT_BYTES / 2);
        let odd = kept(&format!("a{long}")).expect("a text");
        assert_eq!(odd.len(), MAX_TEXT_BYTES - 1);
    }
}
