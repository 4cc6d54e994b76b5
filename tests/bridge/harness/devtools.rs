//! The DevTools protocol of a browser over a pair of pipes: messages are JSON, each with a zero byte
//! behind it. An answer has the number of its call; everything else is an event.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

/// No call takes as long on a machine that is busy with a whole suite.
const DEADLINE: Duration = Duration::from_secs(60);

/// The events that are written down. There are many others, of every byte that arrives.
const KEPT: [&str; 5] = [
    "Network.requestWillBeSent",
    "Log.entryAdded",
    "Runtime.exceptionThrown",
    "Runtime.consoleAPICalled",
    "Page.javascriptDialogOpening",
];

/// The client's end of the pipes.
pub struct DevTools {
    calls: Mutex<ChildStdin>,
    last: AtomicU64,
    heard: Arc<Heard>,
}

/// What has come back.
#[derive(Default)]
struct Heard {
    awaited: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    events: Mutex<Vec<Value>>,
}

impl DevTools {
    /// Listens on its own thread until the browser ends.
    pub fn over(calls: ChildStdin, answers: ChildStdout) -> Self {
        let heard = Arc::new(Heard::default());
        let listener = Arc::clone(&heard);
        std::thread::spawn(move || listener.listen(answers));
        Self {
            calls: Mutex::new(calls),
            last: AtomicU64::new(0),
            heard,
        }
    }

    /// Calls a method, of the browser or of one of its tabs; the error is what it says itself.
    pub async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut message = json!({ "id": number, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let (sender, answer) = oneshot::channel();
        locked(&self.heard.awaited).insert(number, sender);
        self.send(&message)?;
        let answer = tokio::time::timeout(DEADLINE, answer).await;
        let answer = answer.map_err(|_| format!("{method}: no answer within {DEADLINE:?}"))?;
        let answer = answer.map_err(|_| "the browser has ended".to_owned())?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            error => Err(format!("{method}: {error}")),
        }
    }

    fn send(&self, message: &Value) -> Result<(), String> {
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let written = locked(&self.calls).write_all(&bytes);
        written.map_err(|error| format!("the browser has ended: {error}"))
    }

    /// The parameters of this tab's events of a kind, as they came.
    pub fn events(&self, session: &str, method: &str) -> Vec<Value> {
        let events = locked(&self.heard.events);
        let of_it = events
            .iter()
            .filter(|event| event["sessionId"] == session && event["method"] == method);
        of_it.map(|event| event["params"].clone()).collect()
    }
}

impl Heard {
    fn listen(&self, answers: ChildStdout) {
        let messages = BufReader::new(answers).split(0);
        for message in messages.map_while(Result::ok) {
            let message: Value = serde_json::from_slice(&message).expect("the browser sends JSON");
            self.take(message);
        }
        // Nobody waits for an answer any more.
        locked(&self.awaited).clear();
    }

    fn take(&self, message: Value) {
        if let Some(number) = message["id"].as_u64() {
            let awaited = locked(&self.awaited).remove(&number);
            // Its caller may have given up.
            let _ = awaited.map(|sender| sender.send(message));
            return;
        }
        let method = message["method"].as_str().unwrap_or_default();
        if KEPT.contains(&method) {
            locked(&self.events).push(message);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic inside")
}
