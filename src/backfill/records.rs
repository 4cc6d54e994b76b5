//! The records there are: which API belongs to which provider, and what it needs of a configuration.

use super::api_session::ApiSession;
use super::github::{self, GitHubRecord};
use super::onecodex::{self, OneCodexRecord};
use super::pace::Pace;
use super::provider_record::ProviderRecord;
use super::record_facts::RecordFacts;
use super::settings::RecoverySettings;
use crate::source::{RecordName, Source};

/// What an API needs of a configuration.
#[must_use]
pub fn record_facts(record: RecordName) -> RecordFacts {
    match record {
        RecordName::Onecodex => onecodex::FACTS,
        RecordName::Github => github::FACTS,
    }
}

/// Opens the record of a source's provider; its requests keep this pace.
#[must_use]
pub fn open_record(
    source: &Source,
    settings: &RecoverySettings,
    pace: &Pace,
) -> Box<dyn ProviderRecord> {
    let session =
        |conventions| ApiSession::new(&source.name, &settings.api, conventions, pace.clone());
    match settings.record {
        RecordName::Onecodex => {
            let max_body_bytes = settings.max_body_bytes;
            Box::new(OneCodexRecord::new(source, max_body_bytes, session))
        }
        RecordName::Github => Box::new(GitHubRecord::new(source, session)),
    }
}
