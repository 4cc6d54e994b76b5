//! Through the admin listener of the bridge that has the spool.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::{Change, Look, Page};
use crate::admin::{Counted, Token};
use crate::cli::failure::Failure;
use crate::cli::http::{Answer, Http};
use crate::name::SinkName;
use crate::spool::{DeadLetter, DeadLetterName, PendingEvent, SpoolOverview};

/// How long one answer may take; dropping a million events takes its time.
const DEADLINE: Duration = Duration::from_secs(120);

/// A bridge that runs.
pub(super) struct Running {
    http: Http,
    url: String,
}

impl Running {
    /// The bridge whose admin listener is at `url`, and asks for this token if for any.
    pub(super) fn new(url: String, token: Option<Token>) -> Self {
        Self {
            http: Http::to_operators(DEADLINE, token),
            url,
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.value(self.http.get(&format!("{}{path}", self.url)))
    }

    fn delete(&self, path: &str) -> Result<Counted, Failure> {
        self.value(self.http.delete(&format!("{}{path}", self.url)))
    }

    fn value<T: DeserializeOwned>(&self, answer: anyhow::Result<Answer>) -> Result<T, Failure> {
        let context = || {
            let url = &self.url;
            format!(
                "a bridge has the spool, but its admin listener does not answer at {url}; name it with --admin"
            )
        };
        answer.with_context(context)?.value()
    }
}

impl Look for Running {
    fn overview(&self) -> Result<SpoolOverview, Failure> {
        self.get("/spool")
    }

    fn pending(&self, page: &Page<u64>) -> Result<Vec<PendingEvent>, Failure> {
        self.get(&format!("/spool/events{}", query(page)))
    }

    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, Failure> {
        self.get(&format!("/spool/events/{sequence}"))
    }

    fn dead_letters(&self, page: &Page<DeadLetterName>) -> Result<Vec<DeadLetter>, Failure> {
        self.get(&format!("/dead-letters{}", query(page)))
    }

    fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetter, Failure> {
        self.get(&format!("/dead-letters/{name}"))
    }
}

impl Change for Running {
    fn look(&self) -> &dyn Look {
        self
    }

    fn drop_pending(&self, sink: &SinkName) -> Result<u64, Failure> {
        let dropped = self.delete(&format!("/spool/sinks/{sink}"))?;
        Ok(dropped.count)
    }

    fn requeue(&self, name: &DeadLetterName) -> Result<(), Failure> {
        let url = format!("{}/dead-letters/{name}/requeue", self.url);
        self.value::<Counted>(self.http.change(&url)).map(drop)
    }

    fn drop_dead_letter(&self, name: &DeadLetterName) -> Result<(), Failure> {
        self.delete(&format!("/dead-letters/{name}")).map(drop)
    }
}

/// A page as a query. Sequences and names of dead letters have no character that would be escaped.
fn query<P: Display>(page: &Page<P>) -> String {
    let Page { limit, bodies, .. } = page;
    let after = match &page.after {
        Some(place) => format!("&after={place}"),
        None => String::new(),
    };
    format!("?limit={limit}&bodies={bodies}{after}")
}
