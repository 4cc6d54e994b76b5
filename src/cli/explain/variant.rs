//! Something that may have been otherwise at the sender's side, with what it leads to.

/// A value with what makes it differ from the one that was given; nothing for that one itself.
#[derive(Debug, Clone)]
pub(super) struct Variant<T> {
    /// The differences, in words that follow "it would match".
    pub differences: Vec<String>,
    /// What they lead to.
    pub value: T,
}

impl<T> Variant<T> {
    /// The value as it was given.
    pub fn unchanged(value: T) -> Self {
        Self {
            differences: Vec::new(),
            value,
        }
    }

    /// A value that differs in one thing.
    pub fn of(difference: impl Into<String>, value: T) -> Self {
        Self {
            differences: vec![difference.into()],
            value,
        }
    }

    /// What another difference makes of this one's value.
    fn and(&self, other: Self) -> Self {
        let mut differences = self.differences.clone();
        differences.extend(other.differences);
        let value = other.value;
        Self { differences, value }
    }
}

/// The ways to change a value in one of its parts.
pub(super) type Edits<'a, T> = &'a dyn Fn(&T) -> Vec<Variant<T>>;

/// The value as it was given, and with every combination of at most so many differences, each in
/// another part of it.
pub(super) fn combined<T>(value: T, parts: &[Edits<'_, T>], most: usize) -> Vec<Variant<T>> {
    let mut all = vec![Variant::unchanged(value)];
    for edits in parts {
        let mut more = Vec::new();
        for before in all.iter().filter(|it| it.differences.len() < most) {
            let edited = edits(&before.value).into_iter();
            let edited = edited.map(|edit| before.and(edit));
            more.extend(edited.filter(|it| it.differences.len() <= most));
        }
        all.extend(more);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_in_several_parts_are_combined_up_to_a_number() {
        let tens = |value: &u32| vec![Variant::of("ten", value + 10)];
        let hundreds = |value: &u32| {
            [100, 200]
                .map(|more| Variant::of("hundred", value + more))
                .into()
        };
        let values = |most| -> Vec<u32> {
            let all = combined(1, &[&tens, &hundreds], most);
            all.iter()
                .for_each(|it| assert!(it.differences.len() <= most));
            all.iter().map(|it| it.value).collect()
        };
        assert_eq!(values(0), [1]);
        assert_eq!(values(1), [1, 11, 101, 201]);
        assert_eq!(values(2), [1, 11, 101, 201, 111, 211]);
    }
}
