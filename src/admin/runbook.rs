//! The manual's runbook as a page, so that whoever is called at night has it at hand.

use std::sync::LazyLock;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// The text of the manual.
const TEXT: &str = include_str!("../../docs/src/runbook.md");

const STYLE: &str = "
:root { color-scheme: light dark; }
html { background: Canvas; color: CanvasText; }
body { font: 1rem/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 46rem; padding: 1.5rem; overflow-wrap: anywhere; }
h1, h2 { line-height: 1.25; }
h2 { margin-top: 2.5rem; }
:target { outline: 2px solid currentColor; outline-offset: .4rem; }
code { font: .9em ui-monospace, monospace; }
table { border-collapse: collapse; }
td, th { border: 1px solid; padding: .3rem .6rem; text-align: start; vertical-align: top; }
";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut body = String::new();
    html::push_html(&mut body, elements().into_iter());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\"><title>Hookferry runbook</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
});

/// The whole page.
pub(super) fn document() -> &'static str {
    &DOCUMENT
}

/// The elements of the text: each heading has an id, and a link to another chapter of the manual, which
/// is not here, is its text.
fn elements() -> Vec<Event<'static>> {
    let parsed: Vec<Event<'_>> = Parser::new_ext(TEXT, Options::ENABLE_TABLES).collect();
    let mut elements = Vec::with_capacity(parsed.len());
    let mut is_foreign = false;
    for (at, event) in parsed.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                elements.push(Event::Start(Tag::Heading {
                    level: *level,
                    id: Some(heading_id(&parsed[at + 1..]).into()),
                    classes: Vec::new(),
                    attrs: Vec::new(),
                }));
            }
            Event::Start(Tag::Link { dest_url, .. }) if !dest_url.starts_with('#') => {
                is_foreign = true;
            }
            Event::End(TagEnd::Link) if std::mem::take(&mut is_foreign) => {}
            other => elements.push(other.clone().into_static()),
        }
    }
    elements
}

/// The id of the heading whose content begins here, as the manual's own pages have it.
fn heading_id(content: &[Event<'_>]) -> String {
    let content = content
        .iter()
        .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let texts = content.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    });
    anchor(&texts.map(CowStr::as_ref).collect::<String>())
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => {
            Some(letter.to_ascii_lowercase())
        }
        _ => None,
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_can_be_led_to_and_no_link_leads_elsewhere() {
        let sections = TEXT.lines().filter_map(|line| line.strip_prefix("## "));
        let mut count = 0;
        for heading in sections {
            let id = format!("<h2 id=\"{}\">", anchor(heading));
            assert!(document().contains(&id), "{id}");
            count += 1;
        }
        assert!(count > 10, "{count}");
        assert_eq!(anchor("The spool's disk"), "the-spools-disk");
        let links = document().split("<a href=\"").skip(1);
        for link in links {
            assert!(link.starts_with('#'), "{}", &link[..40.min(link.len())]);
            let (target, _) = link[1..].split_once('"').expect("it ends");
            assert!(document().contains(&format!("id=\"{target}\"")), "{target}");
        }
    }
}
