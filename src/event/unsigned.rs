//! The fields of an event that no signature covers.

use serde::{Deserialize, Serialize};

/// A field that may not be covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsignedField {
    /// The sender's id.
    Id,
    /// The event type.
    Type,
    /// The object.
    Object,
    /// The event's own time.
    Time,
}

impl UnsignedField {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Id, "id"),
        (Self::Type, "type"),
        (Self::Object, "object"),
        (Self::Time, "time"),
    ];
}

/// A set of them: whoever has one captured delivery could have changed these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UnsignedFields(u8);

impl UnsignedFields {
    /// Adds one.
    pub fn insert(&mut self, field: UnsignedField) {
        self.0 |= 1 << field as u8;
    }

    /// Whether every field is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// The set as bits, as stored.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set with these members as bits.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 0x0f)
    }
}

/// The names, separated by commas: the value of `hookferry-unsigned`.
impl std::fmt::Display for UnsignedFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members = UnsignedField::ALL.into_iter();
        let names: Vec<&str> = members
            .filter(|(field, _)| self.0 & 1 << *field as u8 != 0)
            .map(|(_, name)| name)
            .collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_members_are_named_in_one_order() {
        let mut fields = UnsignedFields::default();
        assert!(fields.is_empty() && fields.to_string().is_empty());
        fields.insert(UnsignedField::Time);
        fields.insert(UnsignedField::Type);
        assert_eq!(fields.to_string(), "type,time");
        assert_eq!(UnsignedFields::from_bits(fields.bits()), fields);
    }
}
