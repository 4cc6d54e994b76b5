//! What is wrong with a configuration: every problem at once, each with its key path and a remedy.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key path, such as `sink.kafka.brokers`.
    pub path: String,
    /// What is wrong with it.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.found, self.remedy)
    }
}

/// All that is wrong so far, and what may be a mistake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigProblems {
    wrong: Vec<ConfigProblem>,
    doubtful: Vec<ConfigProblem>,
}

impl ConfigProblems {
    /// Notes a problem.
    pub fn add(
        &mut self,
        path: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.wrong.push(ConfigProblem {
            path: path.into(),
            found: found.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes what may be meant as it is: a person is told, and the configuration is good all the same.
    pub fn warn(
        &mut self,
        path: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.doubtful.push(ConfigProblem {
            path: path.into(),
            found: found.into(),
            remedy: remedy.into(),
        });
    }

    /// What may be a mistake, where nothing is wrong.
    #[must_use]
    pub fn into_warnings(self) -> Vec<ConfigProblem> {
        self.doubtful
    }

    /// The value of a required key; where it is missing, that is noted.
    pub fn require<T>(&mut self, path: &str, value: Option<T>, remedy: &str) -> Option<T> {
        if value.is_none() {
            self.add(path, "the key is missing", remedy);
        }
        value
    }

    /// The value, or none and a note of the error.
    pub fn take<T, E: fmt::Display>(
        &mut self,
        path: &str,
        result: Result<T, E>,
        remedy: &str,
    ) -> Option<T> {
        result
            .map_err(|error| self.add(path, error.to_string(), remedy))
            .ok()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wrong.is_empty()
    }

    /// The problems, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigProblem> {
        self.wrong.iter()
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.wrong.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigProblems {}
