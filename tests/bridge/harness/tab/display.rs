//! What a page is shown on: how large, in which colours, in sight or not, on which network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Tab;

impl Tab {
    /// A display of this size in CSS pixels, each of them so many of its own.
    pub async fn resize(&self, width: u32, height: u32, scale: u32) {
        let display = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": scale,
            "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", display)
            .await;
    }

    /// What its owner prefers, such as a `prefers-color-scheme` that is `dark`.
    pub async fn prefers(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// Puts its window out of sight.
    pub async fn minimise(&self) {
        self.window("minimized").await;
        self.comes_to("document.visibilityState === 'hidden'").await;
    }

    /// Puts its window back.
    pub async fn restore(&self) {
        self.window("normal").await;
        self.comes_to("document.visibilityState === 'visible'")
            .await;
    }

    async fn window(&self, state: &str) {
        let target = json!({ "targetId": self.target });
        let window = self.call("Browser.getWindowForTarget", target).await;
        let bounds = json!({ "windowId": window["windowId"], "bounds": { "windowState": state } });
        self.call("Browser.setWindowBounds", bounds).await;
    }

    /// Takes its network away, or brings it back. A connection that is open stays open.
    pub async fn offline(&self, offline: bool) {
        let conditions = json!({
            "offline": offline,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": -1,
        });
        self.call("Network.emulateNetworkConditions", conditions)
            .await;
    }

    /// What was copied last. A page that nobody has given leave may copy, but not read.
    pub async fn copied(&self) -> String {
        let permissions = json!({ "permissions": ["clipboardReadWrite"] });
        self.call("Browser.grantPermissions", permissions).await;
        let text = self.evaluate("navigator.clipboard.readText()").await;
        text.as_str().expect("a text").to_owned()
    }

    /// The page as it is shown now, as a PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let picture = json!({ "format": "png" });
        let answer = self.call("Page.captureScreenshot", picture).await;
        let text = answer["data"].as_str().expect("base64");
        STANDARD.decode(text).expect("base64")
    }
}
