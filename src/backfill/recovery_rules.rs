//! What recovery goes by; replaced as a whole when the configuration is reloaded.

use std::collections::HashMap;
use std::sync::Arc;

use super::settings::RecoverySettings;
use crate::name::SourceName;
use crate::pipeline::Terms;
use crate::source::Source;

/// A source that recovers what it missed.
#[derive(Debug, Clone)]
pub struct RecoverySource {
    /// Whose events.
    pub source: Source,
    /// How.
    pub settings: RecoverySettings,
}

/// The rules.
#[derive(Debug, Clone)]
pub struct RecoveryRules {
    /// The sources that recover.
    pub sources: HashMap<SourceName, Arc<RecoverySource>>,
    /// On what terms events are accepted.
    pub terms: Arc<Terms>,
}
