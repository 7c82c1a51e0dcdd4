//! What is measured: each work once, for the speed in nanoseconds and for the count of
//! instructions.

mod headers;
mod policy;
mod route;
mod session;
mod steering;
mod tls;

/// A piece of what the proxy does for a connection or a request.
pub(crate) struct Work {
    /// Its name, unique, in the words that the reports show.
    pub(crate) name: &'static str,
    /// How many times `run` does it.
    pub(crate) units: u32,
    /// Does it, and lets the meter see that alone; what must be prepared for it, and what a client
    /// does, stays outside.
    pub(crate) run: Box<Run>,
}

/// How a work is done.
pub(crate) type Run = dyn FnMut(&mut dyn Meter);

/// What measures: a watch, or a counter of instructions.
pub(crate) trait Meter {
    /// Runs a part of a work, and counts it.
    fn measure(&mut self, part: &mut dyn FnMut());
}

impl Work {
    fn new(name: &'static str, units: u32, run: impl FnMut(&mut dyn Meter) + 'static) -> Work {
        Work { name, units, run: Box::new(run) }
    }

    /// One that needs nothing prepared: `unit` is called with numbers from 0.
    fn repeated(name: &'static str, mut unit: impl FnMut(usize) + 'static) -> Work {
        const UNITS: u32 = 128;
        Work::new(name, UNITS, move |meter| {
            meter.measure(&mut || (0..UNITS as usize).for_each(&mut unit));
        })
    }
}

/// All works, in the order in which reports show them.
pub(crate) fn all() -> Vec<Work> {
    let of_requests = [route::works(), policy::works(), headers::works(), session::works()];
    let of_connections = [steering::works(), tls::works()];
    of_requests.into_iter().chain(of_connections).flatten().collect()
}
