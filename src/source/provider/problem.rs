//! What is wrong with a provider's table.

/// One mistake, where it stands and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {found}; {remedy}")]
pub struct ProviderProblem {
    /// The key, below the provider's table.
    pub key: String,
    /// What is wrong.
    pub found: String,
    /// What to do.
    pub remedy: String,
}
