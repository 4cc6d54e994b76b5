//! File descriptors: how many the process may hold, and how many connections each listener gets of them.
//!
//! Every connection takes one, and so does every file of the spool and every connection to a broker.
//! Whoever opens connections from outside must not be able to take the last one: the spool could
//! then not begin a segment, and no broker could be reached again. So the public listener is given
//! what is left after a reserve for all others.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The standard streams, the runtime, the listeners; the spool's lock, folders, active segment, spares
/// and index, and the segments that somebody reads just now; a lookup in a file now and then.
const OWN: usize = 32;
/// What a worker's event loop needs.
const PER_WORKER: usize = 4;
/// A store's files; a connection to each broker of a small cluster, with its wake-up pipe, and the
/// one that is to replace it.
const PER_SINK: usize = 12;
/// Fewer connections than this are no service.
const MIN_INGRESS: usize = 4;
/// More connections than this are none that senders need, and even idle ones take memory.
pub const MAX_INGRESS: usize = 12_000;
/// Where fewer files are left than this for each worker, fewer workers hold more connections.
const FILES_WORTH_A_WORKER: usize = 12;

/// Raises the soft limit to the hard one and returns it. Where the system refuses, the old one
/// stays, and is returned.
#[must_use]
pub fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    // No limit at all is written as none.
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// How many connections each listener may hold, and the threads that serve the public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The workers of the public listener: one for each processor, unless few files may be open.
    pub workers: usize,
    /// On the public listener; each worker may hold the same share of them.
    pub ingress: usize,
    /// On the operators' listener, which must answer when the other one is full.
    pub admin: usize,
    /// Of those, the readers of topics that wait, so that others find a connection.
    pub waiting_readers: usize,
    /// Of those, the people who look at the page.
    pub viewers: usize,
    /// On the listener for scrapers and probes, where there is one.
    pub metrics: usize,
}

/// The limit leaves nothing to serve with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process may open only {limit} files, and needs {needed}: raise the limit (`ulimit -n`, or `LimitNOFILE=` in a systemd unit)"
)]
pub struct TooFewFiles {
    limit: usize,
    needed: usize,
}

impl ConnectionLimits {
    /// Divides `limit` descriptors, on a machine with so many processors and for so many sinks.
    ///
    /// # Errors
    /// When hardly any is left for senders.
    pub fn of(limit: usize, processors: usize, sinks: usize) -> Result<Self, TooFewFiles> {
        let divide = |limit| Self::divide(limit, processors, sinks);
        divide(limit).ok_or_else(|| TooFewFiles {
            limit,
            needed: (limit..)
                .find(|limit| divide(*limit).is_some())
                .unwrap_or(usize::MAX),
        })
    }

    fn divide(limit: usize, processors: usize, sinks: usize) -> Option<Self> {
        // Consumers that wait for events hold a connection each.
        let others = (limit / 8).clamp(8, 256);
        let left = limit.saturating_sub(OWN + PER_SINK * sinks + others);
        let workers = processors.min(left / FILES_WORTH_A_WORKER).max(1);
        let ingress = left.saturating_sub(PER_WORKER * workers).min(MAX_INGRESS);
        let metrics = others / 4;
        (ingress >= MIN_INGRESS).then_some(Self {
            workers,
            ingress: ingress - ingress % workers,
            admin: others - metrics,
            waiting_readers: others / 2,
            viewers: others / 8,
            metrics,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generous_limit_gives_all_that_senders_need() {
        for limit in [20_000, usize::MAX] {
            let limits = ConnectionLimits::of(limit, 2, 1).expect("plenty");
            assert_eq!((limits.ingress, limits.workers), (MAX_INGRESS, 2));
            assert_eq!((limits.admin, limits.metrics), (192, 64));
        }
    }

    #[test]
    fn a_small_limit_keeps_a_reserve() {
        for processors in [1, 16] {
            let limits = ConnectionLimits::of(64, processors, 1).expect("enough");
            let reserve = OWN + PER_WORKER + PER_SINK + limits.admin + limits.metrics;
            assert_eq!((limits.workers, limits.ingress), (1, 64 - reserve));
            assert!(
                limits.waiting_readers + limits.viewers < limits.admin
                    && limits.viewers > 0
                    && limits.metrics > 0,
                "{limits:?}"
            );
        }
    }

    #[test]
    fn every_worker_has_the_same_share() {
        for limit in 64..2_000 {
            let limits = ConnectionLimits::of(limit, 7, 1).expect("enough");
            assert_eq!(limits.ingress % limits.workers, 0, "{limits:?}");
            let files = OWN + PER_SINK + PER_WORKER * limits.workers;
            let connections = limits.ingress + limits.admin + limits.metrics;
            assert!(files + connections <= limit, "{limit}: {limits:?}");
        }
    }

    #[test]
    fn a_limit_without_room_is_refused_with_a_remedy() {
        for sinks in [1, 10] {
            let error = ConnectionLimits::of(48, 1, sinks).expect_err("too few");
            assert!(ConnectionLimits::of(error.needed, 1, sinks).is_ok());
            assert!(ConnectionLimits::of(error.needed - 1, 1, sinks).is_err());
            assert!(error.to_string().contains("LimitNOFILE="), "{error}");
        }
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let limit = raise_limit();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert!(limit >= 64, "{limit}");
    }
}
