//! What each built-in provider's sample must become, written down from the samples by hand.

/// An event.
pub struct Expected {
    pub provider: &'static str,
    /// The event type, with dots.
    pub event_type: &'static str,
    /// What no signature covers of it.
    pub unsigned: &'static str,
    /// Whether it says when it happened.
    pub has_time: bool,
    /// How many events it holds; empty where its sender lists none.
    pub events: &'static str,
    /// The signed headers that travel with it besides the signature's own.
    pub carries: &'static [&'static str],
    /// CloudEvents extension attributes.
    pub says: &'static [(&'static str, &'static str)],
}

/// An event of some time, whose header signs nothing but the body.
const fn event(
    provider: &'static str,
    event_type: &'static str,
    unsigned: &'static str,
) -> Expected {
    Expected {
        provider,
        event_type,
        unsigned,
        has_time: true,
        events: "",
        carries: &[],
        says: &[],
    }
}

impl Expected {
    const fn timeless(self) -> Self {
        Self {
            has_time: false,
            ..self
        }
    }

    const fn listed(self) -> Self {
        Self {
            events: "1",
            ..self
        }
    }

    const fn carrying(self, carries: &'static [&'static str]) -> Self {
        Self { carries, ..self }
    }

    const fn saying(self, says: &'static [(&'static str, &'static str)]) -> Self {
        Self { says, ..self }
    }
}

const STANDARD: &[&str] = &["webhook-id", "webhook-timestamp"];

pub const EXPECTED: &[Expected] = &[
    event("benchling", "v2.entry.created", "")
        .timeless()
        .carrying(STANDARD)
        .saying(&[("tenantid", "ten_5f3a")]),
    event("bitbucket", "repo.push", "id,type").timeless(),
    event("calendly", "invitee.created", ""),
    event(
        "cloudevents",
        "com.example.run.finished",
        "id,type,object,time",
    )
    .saying(&[
        ("originid", "<uuid>"),
        ("originsource", "/sequencers/novaseq-2"),
    ]),
    event("discord", "APPLICATION_AUTHORIZED", "")
        .timeless()
        .carrying(&["x-signature-timestamp"]),
    // The type is the table's own word.
    event("docker_hub", "push", "id,object,time"),
    event("docusign", "envelope-completed", "").saying(&[("apiversion", "v2.1")]),
    event("dropbox", "list_folder", "id").timeless().listed(),
    event("elevenlabs", "post_call_transcription", ""),
    event("github", "push", "id,type").timeless(),
    event("gitlab", "push", "").timeless().carrying(STANDARD),
    event("gitlab_token", "push", "id,type,object").timeless(),
    event("hubspot", "contact.creation", "")
        .listed()
        .carrying(&["x-hubspot-request-timestamp"])
        .saying(&[("portalid", "62515")]),
    event("intercom", "conversation.user.created", ""),
    event("jira", "jira.issue_updated", "id"),
    event("linear", "Issue.create", "id"),
    // The id is the MAC, which covers and is not covered.
    event("meta", "page.feed", "id").timeless().listed(),
    event("ms_graph", "created", "id,type,object")
        .timeless()
        .listed(),
    event("nextflow", "process_completed", "id,type,object,time")
        .saying(&[("runname", "gigantic_mercator")]),
    event("notion", "page.created", ""),
    event("okta", "user.account.lock", "id,type,object,time").listed(),
    event("onecodex", "sample.uploaded", "")
        .saying(&[("apiversion", "v1"), ("objecttype", "sample")]),
    event("paddle", "transaction.completed", ""),
    event("pagerduty", "incident.triggered", ""),
    event("redcap", "record.saved", "id,object")
        .timeless()
        .saying(&[("projectid", "42"), ("instrument", "baseline")]),
    event("retell", "call_ended", "").timeless(),
    // Its id is made of the other three.
    event("scinote", "create_result", "type,object,time"),
    event("sendgrid", "delivered", "")
        .listed()
        .carrying(&["x-twilio-email-event-webhook-timestamp"]),
    event("sentry", "issue.created", "id,type").timeless(),
    event("shopify", "orders.create", "id,type,time").saying(&[
        ("apiversion", "2026-04"),
        ("shopdomain", "lab-supplies.myshopify.com"),
    ]),
    event("shopify_events", "Product.update", "id,type,object,time").saying(&[
        ("apiversion", "unstable"),
        ("shopdomain", "lab-supplies.myshopify.com"),
    ]),
    event("slack", "app_mention", "")
        .carrying(&["x-slack-request-timestamp"])
        .saying(&[("teamid", "T2U81E2BB")]),
    event("square", "payment.created", ""),
    event("standard_webhooks", "run.finished", "").carrying(STANDARD),
    event("standard_webhooks_ed25519", "run.finished", "").carrying(STANDARD),
    event("stripe", "invoice.paid", "").saying(&[("apiversion", "2025-03-31.basil")]),
    event("svix", "run.finished", "").carrying(&["svix-id", "svix-timestamp"]),
    event("trello", "updateCard", ""),
    event("twilio", "message.delivered", "").timeless(),
    event("typeform", "form_response", ""),
    event("vercel", "deployment.succeeded", ""),
    event("whatsapp", "message.text", "id").listed(),
    event("workos", "dsync.user.created", ""),
    event("x_twitter", "activity", "id").timeless(),
    event("zendesk", "zen.event-type.ticket.created", "id")
        .carrying(&["x-zendesk-webhook-signature-timestamp"]),
    event("zoom", "meeting.started", "")
        .carrying(&["x-zm-request-timestamp"])
        .saying(&[("accountid", "AAAAAABBBBB")]),
];
