use std::fmt;

/// What a power cut is about: the steps whose order decides what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Write {
        file: String,
        until: u64,
    },
    SyncFile(String),
    MakeDirectory(String),
    Rename {
        from: String,
        to: String,
    },
    SyncDirectory(String),
    RemoveObject(String),
    /// The commit returns, and its caller may acknowledge.
    Returned(String),
}

/// In tests, a list of the steps taken; otherwise nothing.
#[derive(Default)]
pub(super) struct Steps {
    #[cfg(test)]
    taken: std::sync::Mutex<Vec<Step>>,
}

impl Steps {
    /// Notes a step that was just taken.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' twin uses it")]
    pub(super) fn took(&self, _: impl FnOnce() -> Step) {}

    #[cfg(test)]
    pub(super) fn took(&self, step: impl FnOnce() -> Step) {
        self.taken.lock().unwrap().push(step());
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> Vec<Step> {
        self.taken.lock().unwrap().clone()
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps")
    }
}
