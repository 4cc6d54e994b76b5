//! What the conditions of a source's routes ask for.

use super::template::{self, FieldTemplate, Variable};
use crate::json::Pointers;

/// The templates of all conditions, each once.
#[derive(Debug, Clone, Default)]
pub struct ConditionTemplates {
    templates: Vec<FieldTemplate>,
    pointers: Pointers,
}

impl ConditionTemplates {
    /// Those of these templates.
    #[must_use]
    pub fn new(templates: Vec<FieldTemplate>) -> Self {
        let variables = templates.iter().flat_map(FieldTemplate::variables);
        Self {
            pointers: template::pointers(variables),
            templates,
        }
    }

    /// The templates, in their order.
    #[must_use]
    pub fn templates(&self) -> &[FieldTemplate] {
        &self.templates
    }

    /// Every pointer of them.
    #[must_use]
    pub fn pointers(&self) -> &Pointers {
        &self.pointers
    }

    /// Every variable of them.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.templates.iter().flat_map(FieldTemplate::variables)
    }
}
