//! The records there are: which API belongs to which provider.

use super::api_session::ApiSession;
use super::github::GitHubRecord;
use super::onecodex::{self, OneCodexRecord};
use super::provider_record::ProviderRecord;
use super::settings::RecoverySettings;
use crate::source::{RecordName, Source};

/// Opens the record of a source's provider.
#[must_use]
pub fn open_record(source: &Source, settings: &RecoverySettings) -> Box<dyn ProviderRecord> {
    let session = |header| ApiSession::new(&settings.api, header);
    match settings.record {
        RecordName::Onecodex => Box::new(OneCodexRecord::new(source, session)),
        RecordName::Github => Box::new(GitHubRecord::new(source, session)),
    }
}

/// Where the API is unless the configuration says otherwise; none where each has a place of its own.
#[must_use]
pub fn default_url(record: RecordName) -> Option<&'static str> {
    match record {
        RecordName::Onecodex => Some(onecodex::URL),
        RecordName::Github => None,
    }
}
