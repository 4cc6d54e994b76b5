//! How a sender writes a time.

use jiff::Timestamp;

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// RFC 3339.
    Rfc3339,
}

impl TimeUnit {
    /// Reads the time of an event. A number may have a fraction and an exponent, as JSON's may.
    #[must_use]
    pub fn event_time(self, text: &str) -> Option<Timestamp> {
        let per_second = match self {
            Self::Rfc3339 => return text.parse().ok(),
            Self::Seconds => 1.0,
            Self::Milliseconds => 1e3,
        };
        if let Ok(number) = text.parse::<i64>() {
            return match self {
                Self::Milliseconds => Timestamp::from_millisecond(number).ok(),
                _ => Timestamp::from_second(number).ok(),
            };
        }
        let number: f64 = text.parse().ok()?;
        let microseconds = (number / per_second * 1e6).round();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the range is checked first"
        )]
        (microseconds.abs() < 1e18)
            .then(|| Timestamp::from_microsecond(microseconds as i64).ok())
            .flatten()
    }

    /// Reads the time that a signature covers, in whole seconds since 1970: of a number its digits and
    /// nothing else, of RFC 3339 all of its form. A shorter or longer text could be a time too, whose
    /// other bytes were taken from the body.
    #[must_use]
    pub fn signed_seconds(self, text: &str) -> Option<i64> {
        let most = match self {
            Self::Rfc3339 if !is_rfc_3339(text) => return None,
            Self::Rfc3339 => return text.parse().ok().map(Timestamp::as_second),
            Self::Seconds => 12,
            Self::Milliseconds => 15,
        };
        let is_number =
            (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let number: i64 = text.parse().ok().filter(|_| is_number)?;
        Some(match self {
            Self::Milliseconds => number / 1000,
            _ => number,
        })
    }

    /// Writes a time.
    #[must_use]
    pub fn write(self, time: Timestamp) -> String {
        match self {
            Self::Seconds => time.as_second().to_string(),
            Self::Milliseconds => time.as_millisecond().to_string(),
            Self::Rfc3339 => time.to_string(),
        }
    }
}

/// Whether a text has the form of RFC 3339 (section 5.6), whatever its numbers are.
fn is_rfc_3339(text: &str) -> bool {
    let is_like = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(b, of)| match of {
                b'0' => b.is_ascii_digit(),
                of => b.eq_ignore_ascii_case(&of),
            })
    };
    let Some((time, rest)) = text.split_at_checked("0000-00-00T00:00:00".len()) else {
        return false;
    };
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
        None => rest,
    };
    let is_offset = ["Z", "+00:00", "-00:00"]
        .iter()
        .any(|form| is_like(offset, form));
    is_like(time, "0000-00-00T00:00:00") && is_offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_s_time_is_read_in_each_unit() {
        let time = |text: &str| text.parse::<Timestamp>().expect("RFC 3339");
        for (unit, text, expected) in [
            (TimeUnit::Seconds, "1417566161", "2014-12-03T00:22:41Z"),
            (TimeUnit::Seconds, "1.417566161e+09", "2014-12-03T00:22:41Z"),
            (
                TimeUnit::Seconds,
                "1417566161.25",
                "2014-12-03T00:22:41.25Z",
            ),
            (
                TimeUnit::Milliseconds,
                "1417566161250",
                "2014-12-03T00:22:41.25Z",
            ),
            (
                TimeUnit::Rfc3339,
                "2014-12-03T01:22:41+01:00",
                "2014-12-03T00:22:41Z",
            ),
        ] {
            assert_eq!(unit.event_time(text), Some(time(expected)), "{text}");
        }
        for (unit, text) in [
            (TimeUnit::Seconds, "1e99"),
            (TimeUnit::Seconds, "NaN"),
            (TimeUnit::Seconds, ""),
            (TimeUnit::Milliseconds, "2014-12-03T00:22:41Z"),
            (TimeUnit::Rfc3339, "1417566161"),
        ] {
            assert_eq!(unit.event_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_signed_time_is_digits_alone() {
        assert_eq!(
            TimeUnit::Seconds.signed_seconds("1492774577"),
            Some(1_492_774_577)
        );
        assert_eq!(
            TimeUnit::Milliseconds.signed_seconds("1492774577999"),
            Some(1_492_774_577)
        );
        let zulu = TimeUnit::Rfc3339.signed_seconds("2017-04-21T11:36:17Z");
        assert_eq!(zulu, Some(1_492_774_577));
        for text in ["2017-04-21t11:36:17.25z", "2017-04-21T13:36:17+02:00"] {
            let seconds = TimeUnit::Rfc3339.signed_seconds(text);
            assert_eq!(seconds, Some(1_492_774_577), "{text}");
        }
        for text in [
            "",
            "2017-04-21",
            "2017-04-21T11:36Z",
            "20170421T113617Z",
            "2017-04-21T11:36:17",
            "2017-04-21T11:36:17.Z",
            "2017-04-21T13:36:17+02",
            "2017-04-21T11:36:17Z[UTC]",
            "2017-04-21T11:36:17Z1",
            "2017-99-21T11:36:17Z",
            "2017-04-21T11:36:1\u{e9}",
        ] {
            assert_eq!(TimeUnit::Rfc3339.signed_seconds(text), None, "{text}");
        }
        for text in ["", "-1", "+1", "1.0", "1e3", " 1", "1a", "1234567890123"] {
            assert_eq!(TimeUnit::Seconds.signed_seconds(text), None, "{text}");
        }
    }
}
