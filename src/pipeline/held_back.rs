//! Events held back: they came back unroutable, so they wait in a retry queue per address, without
//! their bodies, and are not published in vain.
//!
//! The first event that comes back blocks its address: later ones for it are held back before they
//! are published. Each [`AddressQueue`] says when the next of its events is tried. Of an ordering key
//! one event at most is here; others wait behind it (`key_order`). All times are arguments.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::address_queue::{AddressQueue, RetryReason};
use super::backoff::RetrySchedule;
use super::event_ref::EventRef;

/// The address of refused events whose dead letters find no space: they wait in the same way. No
/// sink has an address of this name.
const LETTERS: &str = "dead letters";

/// The events held back.
#[derive(Debug)]
pub(super) struct HeldBack {
    schedule: RetrySchedule,
    queues: HashMap<Arc<str>, AddressQueue>,
    /// When each queue has something to let go, as noted in it.
    turns: BTreeSet<(Instant, Arc<str>)>,
    /// Events that were let go, until it is known what became of them.
    tries: HashMap<u64, Try>,
    /// The events held back, and those of them that were let go.
    events: usize,
}

/// An event on its way to an address.
#[derive(Debug)]
struct Try {
    address: Arc<str>,
    reason: RetryReason,
    was_held_back: bool,
}

impl HeldBack {
    /// Nothing yet, with these pauses between probes.
    pub fn new(schedule: RetrySchedule) -> Self {
        Self {
            schedule,
            queues: HashMap::new(),
            turns: BTreeSet::new(),
            tries: HashMap::new(),
            events: 0,
        }
    }

    /// Follows another schedule; pauses that have begun are no longer than the new longest.
    pub fn follow(&mut self, schedule: RetrySchedule, now: Instant) {
        self.schedule = schedule;
        let addresses: Vec<Arc<str>> = self.queues.keys().cloned().collect();
        for address in addresses {
            if let Some(queue) = self.queues.get_mut(&address) {
                queue.follow(schedule, now);
            }
            self.set_turn(&address, now);
        }
    }

    /// Whether no address is blocked.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// How many events are held back, or on their way to find out whether they still must be.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether this event was let go, and its verdict is awaited.
    pub fn is_tried(&self, sequence: u64) -> bool {
        self.tries.contains_key(&sequence)
    }

    /// Whether an event for this address may be published now; if not, it is held back.
    pub fn admits(&mut self, address: &str, event: EventRef, now: Instant) -> bool {
        let Some((address, queue)) = self.queue(address) else {
            return true;
        };
        if queue.admit() {
            self.note_try(event.sequence, address, RetryReason::Credit, false);
            return true;
        }
        queue.keep(event);
        self.events += 1;
        self.set_turn(&address, now);
        false
    }

    /// The sink has no place for this event at this address: it is held back. Whether that is news of
    /// the address.
    pub fn came_back(&mut self, address: &str, event: EventRef, now: Instant) -> bool {
        let reason = self.end_try_of(address, event.sequence, now);
        let is_news = !self.queues.contains_key(address);
        if is_news {
            let queue = AddressQueue::new(self.schedule, now);
            self.queues.insert(address.into(), queue);
        }
        if let Some((address, queue)) = self.queue(address) {
            queue.came_back(event, reason, now);
            self.events += 1;
            self.set_turn(&address, now);
        }
        is_news
    }

    /// The dead letter of this event finds no space: it is held back. Whether it is the first.
    pub fn letter_came_back(&mut self, event: EventRef, now: Instant) -> bool {
        self.came_back(LETTERS, event, now)
    }

    /// The sink has this event. The address that is not blocked any more, where it was the last that
    /// waited.
    pub fn arrived(&mut self, sequence: u64, now: Instant) -> Option<Arc<str>> {
        let Try {
            address, reason, ..
        } = self.end_try(sequence)?;
        self.queues.get_mut(&address)?.arrived(reason, now);
        self.set_turn(&address, now);
        self.close(&address).then_some(address)
    }

    /// The dead letter of this event is written. Whether it was the last that waited for that.
    pub fn letter_arrived(&mut self, sequence: u64, now: Instant) -> bool {
        match self.tries.get(&sequence) {
            Some(tried) if &*tried.address == LETTERS => self.arrived(sequence, now).is_some(),
            _ => {
                self.out_of_the_way(sequence, now);
                false
            }
        }
    }

    /// This event is out of the way, for no reason of its address.
    pub fn out_of_the_way(&mut self, sequence: u64, now: Instant) {
        let Some(Try {
            address, reason, ..
        }) = self.end_try(sequence)
        else {
            return;
        };
        if let Some(queue) = self.queues.get_mut(&address) {
            queue.ended(Some(reason));
            self.set_turn(&address, now);
            self.close(&address);
        }
    }

    /// When the next event may be let go.
    pub fn next_at(&self) -> Option<Instant> {
        self.turns.first().map(|(at, _)| *at)
    }

    /// Lets go events whose time has come, at most so many: they are to be read and published.
    pub fn let_go(&mut self, now: Instant, most: usize) -> Vec<EventRef> {
        let mut gone = Vec::new();
        while gone.len() < most
            && let Some((at, address)) = self.turns.first()
            && *at <= now
        {
            let address = Arc::clone(address);
            let Some(queue) = self.queues.get_mut(&address) else {
                break;
            };
            for (event, reason) in queue.let_go(now, most - gone.len()) {
                self.note_try(event.sequence, Arc::clone(&address), reason, true);
                gone.push(event);
            }
            self.set_turn(&address, now);
        }
        gone
    }

    /// The sequence of the oldest event held back, and when that was received, in Unix milliseconds.
    pub fn oldest(&self) -> Option<(u64, u64)> {
        self.queues.values().filter_map(AddressQueue::oldest).min()
    }

    fn queue(&mut self, address: &str) -> Option<(Arc<str>, &mut AddressQueue)> {
        let address = Arc::clone(self.queues.get_key_value(address)?.0);
        let queue = self.queues.get_mut(&address)?;
        Some((address, queue))
    }

    fn note_try(
        &mut self,
        sequence: u64,
        address: Arc<str>,
        reason: RetryReason,
        was_held_back: bool,
    ) {
        let tried = Try {
            address,
            reason,
            was_held_back,
        };
        self.tries.insert(sequence, tried);
    }

    fn end_try(&mut self, sequence: u64) -> Option<Try> {
        if self.tries.is_empty() {
            return None;
        }
        let tried = self.tries.remove(&sequence)?;
        self.events -= usize::from(tried.was_held_back);
        Some(tried)
    }

    /// Why the event was let go by the queue of this address. It may have been by another: that one
    /// then learns nothing from it.
    fn end_try_of(&mut self, address: &str, sequence: u64, now: Instant) -> Option<RetryReason> {
        if &*self.tries.get(&sequence)?.address == address {
            return self.end_try(sequence).map(|tried| tried.reason);
        }
        self.out_of_the_way(sequence, now);
        None
    }

    /// Notes when the queue has something to let go.
    fn set_turn(&mut self, address: &Arc<str>, now: Instant) {
        let Some(queue) = self.queues.get_mut(address) else {
            return;
        };
        let next = queue.next_at(now);
        let noted = std::mem::replace(&mut queue.noted, next);
        if next == noted {
            return;
        }
        if let Some(at) = noted {
            self.turns.remove(&(at, Arc::clone(address)));
        }
        if let Some(at) = next {
            self.turns.insert((at, Arc::clone(address)));
        }
    }

    /// Forgets the queue if it is over; whether it is. Such a queue has nothing to let go.
    fn close(&mut self, address: &Arc<str>) -> bool {
        let is_over = self.queues.get(address).is_some_and(AddressQueue::is_over);
        if is_over {
            self.queues.remove(address);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    const SCHEDULE: RetrySchedule = RetrySchedule {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(10),
    };

    /// The most publishes on their way.
    const IN_FLIGHT: usize = 100;

    /// A sink with a place for some objects of each address, and a dispatcher before it.
    struct Scene {
        held_back: HeldBack,
        now: Instant,
        has_place: fn(&str, u64) -> bool,
        /// What was published, in order, with whether it arrived.
        published: Vec<(u64, bool)>,
        /// Events whose turn it is, by their addresses; the object is the sequence.
        ready: Vec<(&'static str, u64)>,
        addresses: HashMap<u64, &'static str>,
        news: Vec<String>,
    }

    impl Scene {
        fn new(has_place: fn(&str, u64) -> bool) -> Self {
            Self {
                held_back: HeldBack::new(SCHEDULE),
                now: Instant::now(),
                has_place,
                published: Vec::new(),
                ready: Vec::new(),
                addresses: HashMap::new(),
                news: Vec::new(),
            }
        }

        fn send(&mut self, address: &'static str, sequence: u64) {
            self.addresses.insert(sequence, address);
            self.ready.push((address, sequence));
        }

        /// Publishes what is ready and what may be tried, one batch after the other, until nothing
        /// more may be at this moment.
        fn settle(&mut self) {
            loop {
                for event in self.held_back.let_go(self.now, IN_FLIGHT) {
                    let address = self.addresses[&event.sequence];
                    self.ready.push((address, event.sequence));
                }
                if self.ready.is_empty() {
                    return;
                }
                let ready = std::mem::take(&mut self.ready);
                let mut ready = ready.into_iter().peekable();
                while ready.peek().is_some() {
                    self.publish(&mut ready);
                }
            }
        }

        fn publish(&mut self, ready: &mut impl Iterator<Item = (&'static str, u64)>) {
            let mut batch = Vec::new();
            for (address, sequence) in ready {
                let event = EventRef::of(sequence, sequence);
                if self.held_back.is_tried(sequence)
                    || self.held_back.admits(address, event, self.now)
                {
                    batch.push((address, sequence));
                }
                if batch.len() == IN_FLIGHT {
                    break;
                }
            }
            for (address, sequence) in batch {
                let arrives = (self.has_place)(address, sequence);
                self.published.push((sequence, arrives));
                if arrives {
                    let open = self.held_back.arrived(sequence, self.now);
                    self.news
                        .extend(open.map(|address| format!("open {address}")));
                } else if self.held_back.came_back(
                    address,
                    EventRef::of(sequence, sequence),
                    self.now,
                ) {
                    self.news.push(format!("blocked {address}"));
                }
            }
        }

        /// The next pause is over.
        fn wait(&mut self) -> Duration {
            let next = self.held_back.next_at().expect("something waits");
            let pause = next.saturating_duration_since(self.now);
            self.now = self.now.max(next);
            pause
        }

        fn came_back(&self) -> usize {
            self.published
                .iter()
                .filter(|(_, arrived)| !arrived)
                .count()
        }

        fn arrived(&self) -> Vec<u64> {
            let arrived = self.published.iter().filter(|(_, arrived)| *arrived);
            arrived.map(|(sequence, _)| *sequence).collect()
        }
    }

    #[test]
    fn nobody_publishes_hopelessly_and_the_others_are_not_held_up() {
        let mut scene = Scene::new(|address, _| address == "bound");
        for sequence in 0..150_000 {
            scene.send(
                if sequence % 2 == 0 {
                    "unbound"
                } else {
                    "bound"
                },
                sequence,
            );
        }
        scene.settle();
        assert_eq!(scene.arrived().len(), 75_000);
        assert!(scene.came_back() <= IN_FLIGHT, "{}", scene.came_back());
        assert_eq!(scene.held_back.len(), 75_000);
        assert_eq!(scene.held_back.oldest(), Some((0, 0)));
        let before = scene.came_back();
        let pauses: Vec<Duration> = (0..30)
            .map(|_| {
                let pause = scene.wait();
                scene.settle();
                pause
            })
            .collect();
        assert_eq!(scene.came_back() - before, 30, "one probe a pause");
        assert!(pauses.iter().all(|pause| *pause >= SCHEDULE.first / 2));
        assert!(
            pauses[10..]
                .iter()
                .all(|pause| *pause >= SCHEDULE.longest / 2)
        );
        assert_eq!(scene.news, ["blocked unbound"]);
    }

    #[test]
    fn once_there_is_a_place_those_held_back_follow_oldest_first() {
        let mut scene = Scene::new(|_, _| false);
        for sequence in 0..10_000 {
            scene.send("a", sequence);
        }
        scene.settle();
        for _ in 0..10 {
            scene.wait();
            scene.settle();
        }
        scene.has_place = |_, _| true;
        scene.wait();
        scene.settle();
        assert_eq!(scene.held_back.len(), 0);
        assert!(scene.held_back.is_empty() && scene.held_back.turns.is_empty());
        let arrived = scene.arrived();
        let untried = arrived
            .iter()
            .filter(|sequence| **sequence > IN_FLIGHT as u64 + 10);
        assert!(untried.is_sorted());
        assert_eq!(arrived.into_iter().collect::<BTreeSet<_>>().len(), 10_000);
        assert_eq!(scene.news, ["blocked a", "open a"]);
        scene.send("a", 10_000);
        scene.settle();
        assert_eq!(scene.arrived().len(), 10_001, "as if nothing had been");
    }

    /// A routing key with the object's id in it, bound for every second object.
    #[test]
    fn where_some_have_a_place_all_are_tried_once_and_those_that_came_back_are_probed() {
        let mut scene = Scene::new(|_, object| object % 2 == 0);
        for sequence in 0..1000 {
            scene.send("mixed", sequence);
        }
        scene.settle();
        for _ in 0..8 {
            scene.wait();
            scene.settle();
        }
        assert_eq!(scene.arrived().len(), 500);
        assert_eq!(scene.held_back.len(), 500);
        // A new one that has a place is not held up at all.
        scene.send("mixed", 1000);
        scene.settle();
        assert_eq!(scene.arrived().len(), 501);
        let before = scene.came_back();
        for _ in 0..20 {
            scene.wait();
            scene.settle();
        }
        let probes = scene.came_back() - before;
        assert!(
            (500..=20 * 64).contains(&probes),
            "{probes}: each is probed"
        );
        scene.has_place = |_, object| object == 777 || object % 2 == 0;
        for _ in 0..=500 / 64 {
            scene.wait();
            scene.settle();
        }
        assert!(
            scene.arrived().contains(&777),
            "found among those that have none"
        );
        assert_eq!(scene.held_back.len(), 499);
        scene.has_place = |_, _| true;
        scene.wait();
        scene.settle();
        assert!(scene.held_back.is_empty());
        assert_eq!(scene.news, ["blocked mixed", "open mixed"]);
    }

    #[test]
    fn a_few_with_a_place_among_many_without_arrive_all_the_same() {
        let mut scene = Scene::new(|_, object| object % 100 == 99);
        for sequence in 0..2000 {
            scene.send("mixed", sequence);
        }
        scene.settle();
        let mut pauses = 0;
        while scene.arrived().len() < 20 {
            scene.wait();
            scene.settle();
            pauses += 1;
        }
        assert!(pauses < 5000, "{pauses}");
        // Each object once, and the probes.
        assert!(
            scene.came_back() <= 2000 + pauses * 64,
            "{}",
            scene.came_back()
        );
    }

    #[test]
    fn what_is_gone_or_refused_says_nothing_of_its_address_and_stops_nothing() {
        let now = Instant::now();
        let mut held_back = HeldBack::new(SCHEDULE);
        for sequence in 0..3 {
            held_back.came_back("a", EventRef::of(sequence, sequence), now);
        }
        let later = now + SCHEDULE.longest;
        let probe = |held_back: &mut HeldBack| {
            let probes = held_back.let_go(later, 10);
            assert_eq!(probes.len(), 1);
            assert_eq!(held_back.let_go(later, 10), [], "one at a time");
            probes[0]
        };
        for left in [2, 1] {
            let event = probe(&mut held_back);
            assert!(held_back.is_tried(event.sequence));
            held_back.out_of_the_way(event.sequence, later);
            assert_eq!(held_back.len(), left, "and the next one is tried at once");
        }
        let event = probe(&mut held_back);
        assert!(held_back.came_back("b", event, later), "another template");
        assert_eq!((held_back.len(), held_back.queues.len()), (1, 1));
        assert!(!held_back.came_back("b", EventRef::of(9, 9), later));
        held_back.out_of_the_way(1000, later);
        assert_eq!(held_back.arrived(1000, later), None, "never held back");
    }

    #[test]
    fn a_dead_letter_that_finds_no_space_waits_with_its_event() {
        let now = Instant::now();
        let mut held_back = HeldBack::new(SCHEDULE);
        let [first, second] = [EventRef::of(1, 1), EventRef::of(2, 2)];
        assert!(held_back.letter_came_back(first, now));
        assert!(!held_back.letter_came_back(second, now));
        let later = now + SCHEDULE.longest;
        assert_eq!(held_back.let_go(later, 10), [first]);
        assert!(!held_back.letter_arrived(first.sequence, later));
        assert_eq!(held_back.let_go(later, 10), [second], "there is space");
        assert!(held_back.letter_arrived(second.sequence, later));
        assert!(!held_back.letter_arrived(3, later), "was never in the way");
        assert!(held_back.is_empty());
    }

    #[test]
    fn a_pause_that_has_begun_is_no_longer_than_the_new_longest() {
        let now = Instant::now();
        let mut held_back = HeldBack::new(SCHEDULE);
        held_back.came_back("a", EventRef::of(1, 1), now);
        let soon = RetrySchedule {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(1),
        };
        held_back.follow(soon, now);
        assert!(
            held_back
                .next_at()
                .is_some_and(|at| at <= now + soon.longest)
        );
    }
}
