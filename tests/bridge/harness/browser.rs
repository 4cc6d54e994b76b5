//! A real Chromium without a window on a screen, driven by the DevTools protocol.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Tab;
use super::devtools::DevTools;

/// Width and height of its windows, their frames included.
const WINDOW: &str = "--window-size=1280,900";

/// What it would do of itself, and must not: ask its maker for news, and any name server for anything.
/// Without its sandbox it also runs as root, and in a container.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
];

/// The browser reads calls from descriptor 3 and answers on 4, which no other program of the tests
/// needs: the shell puts there what a child has as its standard input and output.
const THROUGH_SHELL: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// A browser with a profile of its own; dropping it kills it.
pub struct Browser {
    child: Child,
    folder: TempDir,
    devtools: Arc<DevTools>,
}

/// Where the browser is.
fn program() -> PathBuf {
    let named = std::env::var_os("HOOKFERRY_TEST_CHROMIUM");
    named
        .expect("HOOKFERRY_TEST_CHROMIUM names no Chromium: run tests/run, or set it to one")
        .into()
}

impl Browser {
    /// Starts it, and returns once it answers.
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        let profile = format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        );
        // Should the tests be killed, it goes too.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", THROUGH_SHELL])
            .arg(program())
            .args(FLAGS)
            .args([WINDOW, &profile, "about:blank"])
            // It leaves a folder there when it is killed.
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the browser starts");
        let calls = child.stdin.take().expect("piped");
        let answers = child.stdout.take().expect("piped");
        let browser = Self {
            child,
            folder,
            devtools: Arc::new(DevTools::over(calls, answers)),
        };
        browser.call("Browser.getVersion", json!({})).await;
        browser
    }

    /// A window with one tab that shows this page.
    pub async fn open(&self, url: &str) -> Tab {
        let blank = json!({ "url": "about:blank", "newWindow": true });
        let target = self.call("Target.createTarget", blank).await["targetId"].clone();
        let attached = json!({ "targetId": target, "flatten": true });
        let session = self.call("Target.attachToTarget", attached).await["sessionId"].clone();
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let tab = Tab::new(Arc::clone(&self.devtools), text(&target), text(&session)).await;
        tab.go_to(url).await;
        tab
    }

    /// What has opened of itself beside the tabs: workers, frames of elsewhere, windows.
    pub async fn others(&self, tabs: &[&Tab]) -> Vec<String> {
        let targets = self.call("Target.getTargets", json!({})).await;
        let targets = targets["targetInfos"].as_array().expect("a list").clone();
        let is_other = |target: &&Value| {
            let of_ours = tabs.iter().any(|tab| target["targetId"] == tab.target());
            // The blank one it began with, and parts of its own window.
            !of_ours && target["url"] != "about:blank" && target["type"] != "browser_ui"
        };
        let others = targets.iter().filter(is_other);
        others.map(Value::to_string).collect()
    }

    async fn call(&self, method: &str, parameters: Value) -> Value {
        let answer = self.devtools.call(None, method, parameters).await;
        answer.unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
