//! Gap recovery: what a webhook did not bring is fetched from the provider's own record.
//!
//! A provider keeps a record of its events or deliveries for some days ([`ProviderRecord`]). The
//! [`Recovery`] asks it at the start, after an outage of the listener and every so often for what
//! failed, and at a slower pace for everything; what the spool does not know by its id is accepted on
//! the same path as a delivery. The proof is an authenticated answer of the provider's API
//! ([`RecoveredDelivery`](crate::source::RecoveredDelivery)); where the provider can only be asked to deliver again,
//! it is the signature of that delivery.
//!
//! One run: the record is listed; each entry is looked up; what is missing is sorted by its own time and
//! accepted, one after the other. A run is never in a hurry: it keeps a pace, waits while the provider
//! asks it to, leaves half of the spool to deliveries, and ends where it stands when the bridge stops.

mod api_session;
mod github;
mod manual_run;
mod missing;
mod onecodex;
mod outage;
mod pace;
mod provider_record;
mod record_facts;
mod records;
mod recovery;
mod recovery_handle;
mod recovery_rules;
mod run;
mod run_counts;
mod run_error;
mod run_line;
mod run_memory;
mod run_result;
mod schedule;
mod search;
mod settings;
mod source_recovery;
mod state_file;

pub use manual_run::{BackfillRequest, InvalidPeriod, ManualRun};
pub use pace::Pace;
pub use provider_record::{EntryContent, ProviderRecord, RecordEntry, RecordPage, UnreadableEntry};
pub use record_facts::RecordFacts;
pub use records::{open_record, record_facts};
pub use recovery::Recovery;
pub use recovery_handle::{NoRecovery, RecoveryHandle};
pub use recovery_rules::{RecoveryRules, RecoverySource};
pub use run::Run;
pub use run_counts::EventResult;
pub use run_error::RunError;
pub use run_line::{MissingEvent, Progress, RunLine, Summary};
pub use run_memory::RunMemory;
pub use run_result::RunResult;
pub use search::{RecordPart, Search};
pub use settings::RecoverySettings;
