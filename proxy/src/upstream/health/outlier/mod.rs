//! Passive ejection: endpoints that answer with errors, or do not answer, get no requests for a time
//! (Envoy's outlier detection).

mod counts;
mod proposal;
mod spec;

pub(super) use counts::FailureCounts;
pub(crate) use proposal::{EjectionProposal, EjectionSender, EjectionTrigger};
pub(crate) use spec::OutlierSpec;
