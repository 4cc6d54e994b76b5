//! A tab of a browser, and what somebody who looks at it sees.

mod controls;
mod display;

pub use controls::{ENTER, ESCAPE, SPACE, TAB};

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::devtools::DevTools;
use crate::eventually::{eventually, eventually_within};

/// A page says what has happened a second later, and a machine that is busy with a whole suite takes
/// its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What must be heard of from the beginning.
const DOMAINS: [&str; 5] = ["Page", "Runtime", "Network", "Log", "Accessibility"];

/// One tab.
pub struct Tab {
    devtools: Arc<DevTools>,
    target: String,
    session: String,
    /// What was seen last, for whoever must find out why something else was waited for.
    seen: Mutex<String>,
}

impl Tab {
    /// A tab that has been attached to.
    pub(super) async fn new(devtools: Arc<DevTools>, target: String, session: String) -> Self {
        let tab = Self {
            devtools,
            target,
            session,
            seen: Mutex::default(),
        };
        for domain in DOMAINS {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab
    }

    /// Its number in the browser.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    async fn call(&self, method: &str, parameters: Value) -> Value {
        let answer = self.try_call(method, parameters).await;
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        let session = Some(self.session.as_str());
        self.devtools.call(session, method, parameters).await
    }

    /// Goes to a page, and returns once it is there with all that belongs to it.
    pub async fn go_to(&self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.is_loaded().await;
    }

    /// Loads the page once more.
    pub async fn reload(&self) {
        // The mark goes with the document.
        self.evaluate("document.isBeforeReload = true").await;
        self.call("Page.reload", json!({})).await;
        eventually("the page is another", async || {
            let marked = self.try_evaluate("document.isBeforeReload === true").await;
            (marked == Ok(Value::Bool(false))).then_some(())
        })
        .await;
        self.is_loaded().await;
    }

    async fn is_loaded(&self) {
        eventually("the page is loaded", async || {
            let state = self.try_evaluate("document.readyState").await;
            (state == Ok(json!("complete"))).then_some(())
        })
        .await;
    }

    /// Where it is.
    pub async fn url(&self) -> String {
        let url = self.evaluate("location.href").await;
        url.as_str().expect("a text").to_owned()
    }

    /// What an expression of the page's language is; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    pub async fn evaluate(&self, expression: &str) -> Value {
        let value = self.try_evaluate(expression).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let parameters = json!({
            "expression": expression,
            "returnByValue": true,
            "awaitPromise": true,
            "userGesture": true,
        });
        let answer = self.try_call("Runtime.evaluate", parameters).await?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].clone()),
            thrown => Err(thrown.to_string()),
        }
    }

    /// What can be read of an element, in one line; nothing where it is not shown.
    pub async fn text(&self, css: &str) -> String {
        let expression = format!(
            "(element => element?.checkVisibility() ? element.innerText : '')(document.querySelector({}))",
            json!(css)
        );
        let text = self.try_evaluate(&expression).await.unwrap_or_default();
        let words: Vec<&str> = text
            .as_str()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let text = words.join(" ");
        *self.seen.lock().expect("no panic inside") = format!("{css}: {text}");
        text
    }

    /// What can be read of each of such elements that are shown, each in one line.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let expression = format!(
            "[...document.querySelectorAll({})].filter(element => element.checkVisibility()).map(element => element.innerText)",
            json!(css)
        );
        let texts = self.try_evaluate(&expression).await.unwrap_or_default();
        let line = |text: &Value| {
            let words = text.as_str().unwrap_or_default().split_whitespace();
            words.collect::<Vec<_>>().join(" ")
        };
        let texts: Vec<String> = texts.as_array().into_iter().flatten().map(line).collect();
        *self.seen.lock().expect("no panic inside") = format!("{css}: {texts:#?}");
        texts
    }

    /// Waits until all of this can be read there, whatever the case of its letters.
    pub async fn shows(&self, css: &str, parts: &[&str]) -> String {
        let what = format!("{css} shows {parts:?}");
        self.reads(css, &what, |text| {
            let text = text.to_lowercase();
            let mut parts = parts.iter();
            parts.all(|part| text.contains(&part.to_lowercase()))
        })
        .await
    }

    /// Waits until this cannot be read there any more.
    pub async fn hides(&self, css: &str, part: &str) -> String {
        let what = format!("{css} does not show {part:?}");
        let part = part.to_lowercase();
        self.reads(css, &what, |text| !text.to_lowercase().contains(&part))
            .await
    }

    /// Waits until what can be read there is as it should be.
    pub async fn reads(&self, css: &str, what: &str, is: impl Fn(&str) -> bool) -> String {
        eventually_within(PATIENCE, what, async || {
            let text = self.text(css).await;
            is(&text).then_some(text)
        })
        .await
    }

    /// Waits until an expression is true.
    pub async fn comes_to(&self, expression: &str) {
        eventually_within(PATIENCE, expression, async || {
            let value = self.try_evaluate(expression).await;
            (value == Ok(Value::Bool(true))).then_some(())
        })
        .await;
    }

    /// The URLs of all that it has asked for so far.
    pub fn requests(&self) -> Vec<String> {
        let events = self
            .devtools
            .events(&self.session, "Network.requestWillBeSent");
        let url = |event: &Value| event["request"]["url"].as_str().map(str::to_owned);
        events.iter().filter_map(url).collect()
    }

    /// What went wrong in it so far: scripts that threw, what its policy forbade, dialogs that a script
    /// has opened. Not that an answer did not come, or was an error: that is the network's affair.
    pub fn complaints(&self) -> Vec<String> {
        let of = |method: &str| self.devtools.events(&self.session, method);
        let mut wrong = of("Runtime.exceptionThrown");
        wrong.extend(of("Page.javascriptDialogOpening"));
        let logged = of("Log.entryAdded");
        wrong.extend(logged.into_iter().filter(|event| {
            let entry = &event["entry"];
            entry["level"] == "error" && entry["source"] != "network"
        }));
        let said = of("Runtime.consoleAPICalled");
        wrong.extend(said.into_iter().filter(|event| event["type"] == "error"));
        wrong.iter().map(Value::to_string).collect()
    }

    /// What axe-core has against the page as it is now: a rule and the elements that break it.
    pub async fn violations(&self) -> Vec<String> {
        let path = std::env::var("HOOKFERRY_TEST_AXE")
            .expect("HOOKFERRY_TEST_AXE names no axe.min.js: run tests/run, or set it to one");
        let axe = std::fs::read_to_string(path).expect("readable");
        let tree = self.call("Page.getFrameTree", json!({})).await;
        // In a world of its own, which sees the page and leaves its names and its policy alone.
        let world = json!({ "frameId": tree["frameTree"]["frame"]["id"] });
        let world = self.call("Page.createIsolatedWorld", world).await;
        let run = "axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations.map(\
            one => `${one.id}: ${one.help}: ${one.nodes.map(node => `${node.html} ${node.failureSummary}`).join('; ')}`))";
        let mut answer = Value::Null;
        for expression in [axe.as_str(), run] {
            let parameters = json!({
                "expression": expression,
                "contextId": world["executionContextId"],
                "awaitPromise": true,
                "returnByValue": true,
            });
            answer = self.call("Runtime.evaluate", parameters).await;
            let thrown = &answer["exceptionDetails"];
            assert!(thrown.is_null(), "axe: {thrown}");
        }
        let found = answer["result"]["value"]
            .as_array()
            .expect("a list")
            .clone();
        found.iter().map(Value::to_string).collect()
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seen = self.seen.lock().expect("no panic inside");
            eprintln!("seen last: {seen}\ncomplaints: {:#?}", self.complaints());
        }
    }
}
