//! Parked events: the sink has no place for them, so they wait by their addresses, without their
//! bodies, and nobody publishes hopelessly.
//!
//! The first event that comes back blocks its address: later ones for it are parked before they are
//! published. Each [`Place`] says when the next of its events is tried. Every event here has the turn
//! of its object; others of that object are behind it in the gate. All times are arguments.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::backoff::Schedule;
use super::place::{Place, Way};
use super::reference::Reference;

/// The address of refused events whose dead letters find no room: they wait in the same way. No
/// sink has an address of this name.
const LETTERS: &str = "dead letters";

/// The parked events.
#[derive(Debug)]
pub(super) struct Parked {
    schedule: Schedule,
    places: HashMap<Arc<str>, Place>,
    /// When each place has something to let go, as noted in it.
    turns: BTreeSet<(Instant, Arc<str>)>,
    /// Events that were let go, until it is known what became of them.
    tries: HashMap<u64, Try>,
    /// Parked events, and those of them that were let go.
    events: usize,
}

/// An event on its way to a place.
#[derive(Debug)]
struct Try {
    address: Arc<str>,
    way: Way,
    was_parked: bool,
}

impl Parked {
    /// Nothing yet, with these pauses between probes.
    pub fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            places: HashMap::new(),
            turns: BTreeSet::new(),
            tries: HashMap::new(),
            events: 0,
        }
    }

    /// Follows another schedule; pauses that have begun are no longer than the new longest.
    pub fn follow(&mut self, schedule: Schedule, now: Instant) {
        self.schedule = schedule;
        let addresses: Vec<Arc<str>> = self.places.keys().cloned().collect();
        for address in addresses {
            if let Some(place) = self.places.get_mut(&address) {
                place.follow(schedule, now);
            }
            self.set_turn(&address, now);
        }
    }

    /// Whether no address is blocked.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many events are parked, or on their way to find out whether they still must be.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether this event was let go, and its verdict is awaited.
    pub fn is_tried(&self, sequence: u64) -> bool {
        self.tries.contains_key(&sequence)
    }

    /// Whether an event for this address may be published now; if not, it is parked.
    pub fn admits(&mut self, address: &str, event: Reference, now: Instant) -> bool {
        let Some((address, place)) = self.place(address) else {
            return true;
        };
        if place.admit() {
            self.note_try(event.sequence, address, Way::Credit, false);
            return true;
        }
        place.keep(event);
        self.events += 1;
        self.set_turn(&address, now);
        false
    }

    /// The sink has no place for this event at this address: it is parked. Whether that is news of
    /// the address.
    pub fn came_back(&mut self, address: &str, event: Reference, now: Instant) -> bool {
        let way = self.end_try_of(address, event.sequence, now);
        let is_news = !self.places.contains_key(address);
        if is_news {
            let place = Place::new(self.schedule, now);
            self.places.insert(address.into(), place);
        }
        if let Some((address, place)) = self.place(address) {
            place.came_back(event, way, now);
            self.events += 1;
            self.set_turn(&address, now);
        }
        is_news
    }

    /// The dead letter of this event finds no room: it is parked. Whether it is the first.
    pub fn letter_came_back(&mut self, event: Reference, now: Instant) -> bool {
        self.came_back(LETTERS, event, now)
    }

    /// The sink has this event. The address that is not blocked any more, where it was the last that
    /// waited.
    pub fn arrived(&mut self, sequence: u64, now: Instant) -> Option<Arc<str>> {
        let Try { address, way, .. } = self.end_try(sequence)?;
        self.places.get_mut(&address)?.arrived(way, now);
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
        let Some(Try { address, way, .. }) = self.end_try(sequence) else {
            return;
        };
        if let Some(place) = self.places.get_mut(&address) {
            place.ended(Some(way));
            self.set_turn(&address, now);
            self.close(&address);
        }
    }

    /// When the next event may be let go.
    pub fn next_at(&self) -> Option<Instant> {
        self.turns.first().map(|(at, _)| *at)
    }

    /// Lets go events whose time has come, at most so many: they are to be read and published.
    pub fn let_go(&mut self, now: Instant, most: usize) -> Vec<Reference> {
        let mut gone = Vec::new();
        while gone.len() < most
            && let Some((at, address)) = self.turns.first()
            && *at <= now
        {
            let address = Arc::clone(address);
            let Some(place) = self.places.get_mut(&address) else {
                break;
            };
            for (event, way) in place.let_go(now, most - gone.len()) {
                self.note_try(event.sequence, Arc::clone(&address), way, true);
                gone.push(event);
            }
            self.set_turn(&address, now);
        }
        gone
    }

    /// The sequence of the oldest parked event, and when that was received, in Unix milliseconds.
    pub fn oldest(&self) -> Option<(u64, u64)> {
        self.places.values().filter_map(Place::oldest).min()
    }

    fn place(&mut self, address: &str) -> Option<(Arc<str>, &mut Place)> {
        let address = Arc::clone(self.places.get_key_value(address)?.0);
        let place = self.places.get_mut(&address)?;
        Some((address, place))
    }

    fn note_try(&mut self, sequence: u64, address: Arc<str>, way: Way, was_parked: bool) {
        let tried = Try {
            address,
            way,
            was_parked,
        };
        self.tries.insert(sequence, tried);
    }

    fn end_try(&mut self, sequence: u64) -> Option<Try> {
        if self.tries.is_empty() {
            return None;
        }
        let tried = self.tries.remove(&sequence)?;
        self.events -= usize::from(tried.was_parked);
        Some(tried)
    }

    /// How the event was let go by the place of this address. It may have been by another: that one
    /// then learns nothing from it.
    fn end_try_of(&mut self, address: &str, sequence: u64, now: Instant) -> Option<Way> {
        if &*self.tries.get(&sequence)?.address == address {
            return self.end_try(sequence).map(|tried| tried.way);
        }
        self.out_of_the_way(sequence, now);
        None
    }

    /// Notes when the place has something to let go.
    fn set_turn(&mut self, address: &Arc<str>, now: Instant) {
        let Some(place) = self.places.get_mut(address) else {
            return;
        };
        let next = place.next_at(now);
        let noted = std::mem::replace(&mut place.noted, next);
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

    /// Forgets the place if it is over; whether it is. Such a place has nothing to let go.
    fn close(&mut self, address: &Arc<str>) -> bool {
        let is_over = self.places.get(address).is_some_and(Place::is_over);
        if is_over {
            self.places.remove(address);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    const SCHEDULE: Schedule = Schedule {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(10),
    };

    /// The most publishes on their way.
    const IN_FLIGHT: usize = 100;

    /// A sink with a place for some objects of each address, and a dispatcher before it.
    struct Scene {
        parked: Parked,
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
                parked: Parked::new(SCHEDULE),
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
                for event in self.parked.let_go(self.now, IN_FLIGHT) {
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
                let event = Reference::of(sequence, sequence);
                if self.parked.is_tried(sequence) || self.parked.admits(address, event, self.now) {
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
                    let open = self.parked.arrived(sequence, self.now);
                    self.news
                        .extend(open.map(|address| format!("open {address}")));
                } else if self.parked.came_back(
                    address,
                    Reference::of(sequence, sequence),
                    self.now,
                ) {
                    self.news.push(format!("blocked {address}"));
                }
            }
        }

        /// The next pause is over.
        fn wait(&mut self) -> Duration {
            let next = self.parked.next_at().expect("something waits");
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
        assert_eq!(scene.parked.len(), 75_000);
        assert_eq!(scene.parked.oldest(), Some((0, 0)));
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
    fn once_there_is_a_place_the_parked_follow_oldest_first() {
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
        assert_eq!(scene.parked.len(), 0);
        assert!(scene.parked.is_empty() && scene.parked.turns.is_empty());
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
        assert_eq!(scene.parked.len(), 500);
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
        assert_eq!(scene.parked.len(), 499);
        scene.has_place = |_, _| true;
        scene.wait();
        scene.settle();
        assert!(scene.parked.is_empty());
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
        let mut parked = Parked::new(SCHEDULE);
        for sequence in 0..3 {
            parked.came_back("a", Reference::of(sequence, sequence), now);
        }
        let later = now + SCHEDULE.longest;
        let probe = |parked: &mut Parked| {
            let probes = parked.let_go(later, 10);
            assert_eq!(probes.len(), 1);
            assert_eq!(parked.let_go(later, 10), [], "one at a time");
            probes[0]
        };
        for left in [2, 1] {
            let event = probe(&mut parked);
            assert!(parked.is_tried(event.sequence));
            parked.out_of_the_way(event.sequence, later);
            assert_eq!(parked.len(), left, "and the next one is tried at once");
        }
        let event = probe(&mut parked);
        assert!(parked.came_back("b", event, later), "another template");
        assert_eq!((parked.len(), parked.places.len()), (1, 1));
        assert!(!parked.came_back("b", Reference::of(9, 9), later));
        parked.out_of_the_way(1000, later);
        assert_eq!(parked.arrived(1000, later), None, "never parked");
    }

    #[test]
    fn a_letter_that_finds_no_room_waits_with_its_event() {
        let now = Instant::now();
        let mut parked = Parked::new(SCHEDULE);
        let [first, second] = [Reference::of(1, 1), Reference::of(2, 2)];
        assert!(parked.letter_came_back(first, now));
        assert!(!parked.letter_came_back(second, now));
        let later = now + SCHEDULE.longest;
        assert_eq!(parked.let_go(later, 10), [first]);
        assert!(!parked.letter_arrived(first.sequence, later));
        assert_eq!(parked.let_go(later, 10), [second], "there is room");
        assert!(parked.letter_arrived(second.sequence, later));
        assert!(!parked.letter_arrived(3, later), "was never in the way");
        assert!(parked.is_empty());
    }

    #[test]
    fn a_pause_that_has_begun_is_no_longer_than_the_new_longest() {
        let now = Instant::now();
        let mut parked = Parked::new(SCHEDULE);
        parked.came_back("a", Reference::of(1, 1), now);
        let soon = Schedule {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(1),
        };
        parked.follow(soon, now);
        assert!(parked.next_at().is_some_and(|at| at <= now + soon.longest));
    }
}
