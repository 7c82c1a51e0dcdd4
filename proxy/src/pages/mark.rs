//! The picture above a page's heading: a portcullis, up or down. The text says everything that the
//! picture says, so a screen reader skips it.

use super::page::PageMood;

/// The picture of a page.
pub(super) fn of(mood: PageMood) -> &'static str {
    match mood {
        PageMood::Open => OPEN,
        PageMood::Ask | PageMood::Closed => CLOSED,
        PageMood::Fault => HALF_WAY,
    }
}

const OPEN: &str = "<svg viewBox=\"0 0 40 40\" aria-hidden=\"true\">\
     <path d=\"M5 37V19a15 15 0 0 1 30 0v18M12.5 8v7M20 5v12M27.5 8v7M6 12h28\"/></svg>\n";

const CLOSED: &str = "<svg viewBox=\"0 0 40 40\" aria-hidden=\"true\">\
     <path d=\"M5 37V19a15 15 0 0 1 30 0v18M12.5 7v29M20 4v34M27.5 7v29M5 17h30M5 27h30\"/></svg>\n";

const HALF_WAY: &str = "<svg viewBox=\"0 0 40 40\" aria-hidden=\"true\">\
     <path d=\"M5 37V19a15 15 0 0 1 30 0v18M12.5 7v17M20 4v22M27.5 7v17M5 16h30\"/></svg>\n";
