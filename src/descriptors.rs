//! File descriptors: how many the process may hold, and who may hold how many of them.
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
const MIN_SENDERS: usize = 4;

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

/// Who may hold how many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// On the public listener.
    pub senders: usize,
    /// On the operators' listener, which must answer when the other one is full.
    pub operators: usize,
    /// Of those, the readers of topics that wait, so that others find a connection.
    pub readers: usize,
    /// On the listener for scrapers and probes, where there is one.
    pub scrapers: usize,
}

/// The limit leaves nothing to serve with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process may open only {limit} files, and needs {needed}: raise the limit (`ulimit -n`, or `LimitNOFILE=` in a systemd unit)"
)]
pub struct TooFew {
    limit: usize,
    needed: usize,
}

impl Share {
    /// Shares out `limit` descriptors; `wanted` is what the configuration would give to senders.
    ///
    /// # Errors
    /// When hardly any is left for senders.
    pub fn of(
        limit: usize,
        (workers, sinks): (usize, usize),
        wanted: usize,
    ) -> Result<Self, TooFew> {
        // Consumers that wait for events hold a connection each.
        let looking = (limit / 8).clamp(8, 256);
        let reserve = OWN + PER_WORKER * workers + PER_SINK * sinks + looking;
        let senders = wanted.min(limit.saturating_sub(reserve));
        if senders < MIN_SENDERS.min(wanted) {
            return Err(TooFew {
                limit,
                needed: reserve + MIN_SENDERS.min(wanted),
            });
        }
        let scrapers = looking / 4;
        Ok(Self {
            senders,
            operators: looking - scrapers,
            readers: looking / 2,
            scrapers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generous_limit_gives_what_is_wanted() {
        for limit in [20_000, usize::MAX] {
            let share = Share::of(limit, (2, 1), 10_000).expect("plenty");
            assert_eq!(share.senders, 10_000);
            assert_eq!((share.operators, share.scrapers), (192, 64));
        }
    }

    #[test]
    fn a_small_limit_keeps_a_reserve() {
        let share = Share::of(64, (1, 1), 10_000).expect("enough");
        let reserve = OWN + PER_WORKER + PER_SINK + share.operators + share.scrapers;
        assert_eq!(share.senders, 64 - reserve);
        assert!(
            share.readers < share.operators && share.scrapers > 0,
            "{share:?}"
        );
        assert_eq!(Share::of(64, (1, 1), 2).map(|share| share.senders), Ok(2));
    }

    #[test]
    fn a_limit_without_room_is_refused_with_a_remedy() {
        let error = Share::of(48, (1, 1), 10_000).expect_err("too few");
        assert_eq!(
            error.needed,
            Share::of(error.needed, (1, 1), 10_000).map_or(0, |_| error.needed)
        );
        assert!(error.to_string().contains("LimitNOFILE="), "{error}");
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let limit = raise_limit();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert!(limit >= 64, "{limit}");
    }
}
