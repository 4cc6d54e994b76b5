//! Which objects a warning has been logged for, so that one that repeats itself is logged once an
//! object. Bounded: of very many objects, the first may be logged again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::OrderingKey;

/// The most objects that are remembered.
const MOST_OBJECTS: usize = 1024;

/// The objects that a warning was logged for lately; cloning it is cheap, and all clones know the
/// same.
#[derive(Debug, Clone, Default)]
pub struct LoggedObjects(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    objects: HashSet<OrderingKey>,
    /// The same, oldest first.
    order: VecDeque<OrderingKey>,
}

impl LoggedObjects {
    /// Whether the object is new here; from now on it is not.
    pub(super) fn is_new(&self, object: OrderingKey) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.objects.insert(object.clone()) {
            return false;
        }
        known.order.push_back(object);
        if known.order.len() > MOST_OBJECTS
            && let Some(oldest) = known.order.pop_front()
        {
            known.objects.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{ObjectId, SourceName};

    fn object(number: usize) -> OrderingKey {
        let source = SourceName::parse("a").expect("a slug");
        let object = ObjectId::parse(&format!("object{number}")).expect("a word");
        OrderingKey::Object(source, object)
    }

    #[test]
    fn each_object_is_new_once_and_not_too_many_are_remembered() {
        let logged = LoggedObjects::default();
        assert!(logged.is_new(object(0)));
        assert!(!logged.is_new(object(0)));
        for number in 1..=MOST_OBJECTS {
            assert!(logged.is_new(object(number)));
        }
        assert!(!logged.is_new(object(MOST_OBJECTS)));
        let known = logged.0.lock().expect("not poisoned");
        assert_eq!(
            (known.objects.len(), known.order.len()),
            (MOST_OBJECTS, MOST_OBJECTS)
        );
        drop(known);
        assert!(logged.is_new(object(0)), "forgotten for the newest");
    }
}
