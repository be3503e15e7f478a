//! Faults that tests switch on at run time, one at a time, to show that they are noticed. A release build has none.

/// The name by which the environment chooses one.
#[cfg(feature = "mutants")]
const VARIABLE: &str = "ETALAGE_MUTANT";

#[cfg(feature = "mutants")]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Whether the mutant `name` was chosen: by the environment, or for this thread.
#[cfg(feature = "mutants")]
pub(super) fn is_mutant(name: &str) -> bool {
    static OF_PROCESS: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let of_process = OF_PROCESS.get_or_init(|| std::env::var(VARIABLE).ok());
    of_process.as_deref() == Some(name) || CHOSEN.get() == Some(name)
}

/// Chooses a mutant for what runs on this thread.
#[cfg(feature = "mutants")]
pub(super) fn choose(name: Option<&'static str>) {
    CHOSEN.set(name);
}

#[cfg(not(feature = "mutants"))]
pub(super) fn is_mutant(_name: &str) -> bool {
    false
}
