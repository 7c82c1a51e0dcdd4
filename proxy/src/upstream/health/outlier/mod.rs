//! Passive ejection: endpoints that answer with errors, or do not answer, get no requests for a time
//! (Envoy's outlier detection).

mod counts;
mod detector;
mod ejector;
mod outcome;
mod proposal;
mod rates;
#[cfg(test)]
mod simulation;
mod spec;

pub(super) use counts::FailureCounts;
pub(crate) use ejector::Ejector;
pub(crate) use outcome::RequestOutcome;
use proposal::EjectionTrigger;
pub(crate) use proposal::{EjectionProposal, EjectionSender};
use rates::RequestRates;
pub(crate) use spec::{EnforcingSpec, FailurePercentageSpec, OutlierSpec, SuccessRateSpec};
