//! How many instructions each work takes, under callgrind: `cargo xtask bench instructions`.
//!
//! callgrind is told to count within [`counted`] alone, and to write down what it has counted, and
//! begin anew, whenever [`written_down`] returns. So the order of the works is the order of its
//! files, and this prints their names in that order, each with how many times the work was done.
#![expect(clippy::print_stdout, reason = "the names go to standard output")]

mod works;

use std::hint::black_box;

use works::Meter;

/// What happens only once is over then: allocations that stay, tables that are filled.
const WARM_UP_RUNS: usize = 2;

fn main() {
    for mut work in works::all() {
        for _ in 0..WARM_UP_RUNS {
            (work.run)(&mut Uncounted);
        }
        (work.run)(&mut Counted);
        written_down();
        println!("{}\t{}", work.units, work.name);
    }
}

struct Uncounted;

impl Meter for Uncounted {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        part();
    }
}

struct Counted;

impl Meter for Counted {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        counted(part);
    }
}

#[inline(never)]
fn counted(part: &mut dyn FnMut()) {
    part();
    // So that the call above is no jump, which callgrind would not see the end of.
    black_box(());
}

#[inline(never)]
fn written_down() {
    black_box(());
}
