//! What somebody does with a page: its controls are found as a screen reader finds them, by what they
//! are and by their names.

use serde_json::{Value, json};

use super::Tab;
use crate::eventually::eventually;

/// What has a text of its own to be filled in.
const FIELDS: [&str; 4] = ["textbox", "searchbox", "combobox", "listbox"];

/// Clicks where a pointer could: on what is enabled and not covered. All in one turn of the page's
/// script, so that nothing moves between looking and clicking.
const CLICK: &str = "function () {
    this.scrollIntoView({ block: 'center', behavior: 'instant' });
    const box = this.getClientRects()[0];
    const hit = box && document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    if (this.disabled || !hit || !this.contains(hit)) return false;
    this.focus();
    this.click();
    return true;
}";

/// Chooses where there is a choice, and else gets a field ready to be typed into; tells which it was.
const BEGIN: &str = "function (text) {
    this.focus();
    if (this.tagName !== 'SELECT') {
        this.select();
        return document.activeElement === this ? 'type' : null;
    }
    const option = [...this.options].find(one => one.label === text || one.value === text);
    if (!option) return null;
    this.value = option.value;
    this.dispatchEvent(new Event('input', { bubbles: true }));
    this.dispatchEvent(new Event('change', { bubbles: true }));
    return 'chosen';
}";

/// A key: its name, its code, the number that systems know it by, and what it types.
#[derive(Clone, Copy)]
pub struct Key(&'static str, &'static str, u16, &'static str);

pub const TAB: Key = Key("Tab", "Tab", 9, "");
pub const ENTER: Key = Key("Enter", "Enter", 13, "\r");
pub const ESCAPE: Key = Key("Escape", "Escape", 27, "");
pub const SPACE: Key = Key(" ", "Space", 32, " ");

impl Tab {
    /// Clicks what has this role and this name.
    pub async fn click(&self, role: &str, name: &str) {
        self.click_in("html", role, name).await;
    }

    /// The same with what lies in the first such element.
    pub async fn click_in(&self, css: &str, role: &str, name: &str) {
        eventually(
            &format!("{css} has a {role} {name:?} to click"),
            async || {
                let object = self.object(css, &[role], name).await?;
                let clicked = self.on(&object, CLICK, &[]).await?;
                (clicked == Value::Bool(true)).then_some(())
            },
        )
        .await;
    }

    /// Whether there is something of this role and this name that can be used now.
    pub async fn has(&self, role: &str, name: &str) -> bool {
        self.object("html", &[role], name).await.is_some()
    }

    /// Fills in the field with this label, or chooses there, and leaves it.
    pub async fn fill(&self, label: &str, text: &str) {
        self.fill_in("html", label, text).await;
    }

    /// The same with a field in the first such element.
    pub async fn fill_in(&self, css: &str, label: &str, text: &str) {
        let way = eventually(&format!("{css} has a field {label:?}"), async || {
            let object = self.object(css, &FIELDS, label).await?;
            let way = self.on(&object, BEGIN, &[text.into()]).await?;
            way.as_str().map(str::to_owned)
        })
        .await;
        if way == "type" {
            if text.is_empty() {
                self.press(Key("Delete", "Delete", 46, "")).await;
            } else {
                self.write(text).await;
            }
            self.evaluate("document.activeElement.blur()").await;
        }
    }

    /// Types a text where the focus is.
    pub async fn write(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key.
    pub async fn press(&self, key: Key) {
        self.press_with(key, 0).await;
    }

    /// Presses a key together with the shift key.
    pub async fn press_shifted(&self, key: Key) {
        self.press_with(key, 8).await;
    }

    async fn press_with(&self, Key(name, code, number, text): Key, modifiers: u8) {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind,
                "key": name,
                "code": code,
                "windowsVirtualKeyCode": number,
                "modifiers": modifiers,
            });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Presses the tabulator until what has this name has the focus, as somebody without a pointer
    /// does.
    ///
    /// # Panics
    /// When all controls were gone through before.
    pub async fn tab_to(&self, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..200 {
            self.press(TAB).await;
            let focused = self.focused().await;
            if focused == name {
                return;
            }
            passed.push(focused);
        }
        panic!("{name:?} is not among {passed:#?}");
    }

    /// The name of what has the focus, as a screen reader says it.
    pub async fn focused(&self) -> String {
        let name = async || {
            let object = self.object_of("document.activeElement").await?;
            let node = json!({ "objectId": object, "fetchRelatives": false });
            let tree = self
                .try_call("Accessibility.getPartialAXTree", node)
                .await
                .ok()?;
            tree["nodes"][0]["name"]["value"]
                .as_str()
                .map(str::to_owned)
        };
        name().await.unwrap_or_default()
    }

    /// The page's object for what has one of these roles and this name in an element.
    async fn object(&self, css: &str, roles: &[&str], name: &str) -> Option<String> {
        let root = self
            .object_of(&format!("document.querySelector({})", json!(css)))
            .await?;
        let wanted = json!({ "objectId": root, "accessibleName": name });
        let tree = self
            .try_call("Accessibility.queryAXTree", wanted)
            .await
            .ok()?;
        let nodes = tree["nodes"].as_array()?.iter();
        let mut nodes = nodes.filter(|node| {
            let role = node["role"]["value"].as_str().unwrap_or_default();
            node["ignored"] == false && roles.contains(&role)
        });
        let node = json!({ "backendNodeId": nodes.next()?["backendDOMNodeId"] });
        let resolved = self.try_call("DOM.resolveNode", node).await.ok()?;
        resolved["object"]["objectId"].as_str().map(str::to_owned)
    }

    async fn object_of(&self, expression: &str) -> Option<String> {
        let expression = json!({ "expression": expression });
        let answer = self.try_call("Runtime.evaluate", expression).await.ok()?;
        answer["result"]["objectId"].as_str().map(str::to_owned)
    }

    /// Calls a function on an object of the page, as somebody's own doing: such as may copy.
    async fn on(&self, object: &str, function: &str, arguments: &[Value]) -> Option<Value> {
        let arguments: Vec<Value> = arguments.iter().map(|it| json!({ "value": it })).collect();
        let call = json!({
            "objectId": object,
            "functionDeclaration": function,
            "arguments": arguments,
            "returnByValue": true,
            "userGesture": true,
        });
        let answer = self.try_call("Runtime.callFunctionOn", call).await.ok()?;
        Some(answer["result"]["value"].clone())
    }
}
