//! The liveness check of the watchdog: the parts that every event goes through are asked, and one that
//! hangs does not answer. No broker is asked: no restart of the bridge would end its outage.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use crate::name::SinkName;
use crate::pipeline::HealthProbe;
use crate::spool::Spool;

/// The parts that are asked: the spool's thread and the dispatchers.
#[derive(Debug)]
pub struct Liveness {
    pub(super) spool: Spool,
    pub(super) dispatchers: Vec<(SinkName, HealthProbe)>,
}

impl Liveness {
    /// Asks all of them at once. Dispatchers are tasks, so their answers also show that the runtime
    /// runs tasks.
    ///
    /// # Errors
    /// The parts that have not answered within the deadline.
    pub async fn check(&self, deadline: Duration) -> Result<(), Vec<String>> {
        let asked = |(name, answer): (String, BoxFuture<'static, bool>)| async move {
            let answered = tokio::time::timeout(deadline, answer).await;
            (answered != Ok(true)).then_some(name)
        };
        let silent = join_all(self.questions().into_iter().map(asked)).await;
        let silent: Vec<String> = silent.into_iter().flatten().collect();
        if silent.is_empty() {
            Ok(())
        } else {
            Err(silent)
        }
    }

    fn questions(&self) -> Vec<(String, BoxFuture<'static, bool>)> {
        let spool = self.spool.clone();
        let spool = async move { spool.probe().await.is_ok() }.boxed();
        let mut questions = vec![("the spool's thread".to_owned(), spool)];
        for (name, probe) in &self.dispatchers {
            let probe = probe.clone();
            let dispatcher = async move { probe.probe().await.is_ok() }.boxed();
            questions.push((format!("the dispatcher of sink {name}"), dispatcher));
        }
        questions
    }
}
