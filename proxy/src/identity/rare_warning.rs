//! A warning that may be due with every request, and is written rarely.

use std::cell::Cell;

/// After a warning, further ones are left out for so many seconds.
const PAUSE_S: u64 = 10;

/// A warning that is not repeated for a while.
#[derive(Debug, Default)]
pub(in crate::identity) struct RareWarning {
    written_at_s: Cell<Option<u64>>,
    left_out: Cell<u64>,
}

impl RareWarning {
    /// Writes a warning if none was written for a while. `write` gets the number of warnings that were
    /// left out since then.
    pub(in crate::identity) fn write(&self, now_s: u64, write: impl FnOnce(u64)) {
        // A clock that was set back must not stop warnings.
        if self.written_at_s.get().is_some_and(|at_s| at_s.abs_diff(now_s) < PAUSE_S) {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        self.written_at_s.set(Some(now_s));
        write(self.left_out.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_written_at_once_and_then_with_the_number_left_out() {
        let warning = RareWarning::default();
        let written = Cell::new(None);
        let write = |now_s| {
            written.take();
            warning.write(now_s, |left_out| written.set(Some(left_out)));
            written.get()
        };
        assert_eq!(write(100), Some(0));
        assert_eq!([write(100), write(105), write(109)], [None; 3]);
        assert_eq!([write(110), write(119), write(120)], [Some(3), None, Some(1)]);
        assert_eq!(write(50), Some(0), "the clock was set back");
    }
}
