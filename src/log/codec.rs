//! Numbers and texts as bytes, for the items of batches: seven bits a byte, the lowest first.

/// Appends a number.
pub fn put(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// Appends bytes with their length.
pub fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Appends rising ranges, each as its distance from the one before and its length.
pub fn put_ranges(to: &mut Vec<u8>, ranges: &[std::ops::Range<u64>]) {
    put(to, ranges.len() as u64);
    let mut behind = 0;
    for range in ranges {
        put(to, range.start - behind);
        put(to, range.end - range.start);
        behind = range.end;
    }
}

/// Reads what was put; `None` where the bytes are something else.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a>(
    /// What is left.
    pub &'a [u8],
);

impl<'a> Decoder<'a> {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(first & 0x7f).checked_shl(shift)?;
            if *first < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The next number, if it is one of this type.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    /// The next bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The next list of ranges.
    pub fn ranges(&mut self) -> Option<Vec<std::ops::Range<u64>>> {
        let count = self.number()?;
        let mut ranges = Vec::new();
        let mut behind: u64 = 0;
        for _ in 0..count {
            let start = behind.checked_add(self.number()?)?;
            behind = start.checked_add(self.number()?)?;
            ranges.push(start..behind);
        }
        Some(ranges)
    }

    /// As many as a number says that comes first.
    pub fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        (0..count).map(|_| each(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back_and_nothing_else_does() {
        let mut bytes = Vec::new();
        for number in [0, 127, 128, 300, u64::MAX] {
            put(&mut bytes, number);
        }
        put_bytes(&mut bytes, "é".as_bytes());
        put_ranges(&mut bytes, &[3..4, 9..200]);
        let mut decoder = Decoder(&bytes);
        let numbers: Vec<u64> = (0..5).filter_map(|_| decoder.number()).collect();
        assert_eq!(numbers, [0, 127, 128, 300, u64::MAX]);
        assert_eq!(decoder.text(), Some("é"));
        assert_eq!(decoder.ranges(), Some(vec![3..4, 9..200]));
        assert!(decoder.is_empty() && decoder.number().is_none());
        assert_eq!(Decoder(&[0x80]).number(), None);
        assert_eq!(Decoder(&[0xff; 11]).number(), None);
        assert_eq!(Decoder(&[5, 1]).bytes(), None);
        assert_eq!(
            Decoder(&[0x80, 0x80, 0x80, 0x10]).list(Decoder::number),
            None
        );
    }
}
