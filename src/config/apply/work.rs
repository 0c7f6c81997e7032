//! How often a change goes over everything there is of something: what keeps many changes from taking their number times
//! that. Counted in tests only.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static PASSES: Cell<usize> = const { Cell::new(0) };
}

/// Everything of something is gone over once more.
pub(super) fn pass() {
    #[cfg(test)]
    PASSES.set(PASSES.get() + 1);
}

/// How often that was since it was asked last.
#[cfg(test)]
pub(super) fn passes() -> usize {
    PASSES.take()
}
