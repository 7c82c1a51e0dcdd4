//! What is known of the health of endpoints: by checks, and by the responses to requests.
//!
//! One thread, `health`, decides; workers count and propose. What it has decided reaches workers as a
//! new [`EndpointSet`](super::EndpointSet) of the cluster.

mod active;
mod availability;
mod cluster_health;
mod endpoint_health;
mod inheritance;
mod outlier;

pub(crate) use active::{
    CheckHttpVersion, CheckIntervals, CheckThresholds, CheckerSpec, GrpcCheckSpec, HealthCheckSpec,
    HealthMonitor, HttpCheckSpec, NoTrafficIntervals, TcpCheckSpec, may_have_body,
};
pub(super) use availability::{Availability, EndpointShare};
pub(crate) use cluster_health::ClusterHealth;
pub(crate) use endpoint_health::EndpointHealth;
pub(super) use inheritance::HealthInheritance;
pub(crate) use outlier::{
    EjectionProposal, EjectionSender, Ejector, EnforcingSpec, FailurePercentageSpec, OutlierSpec,
    RequestOutcome, SuccessRateSpec,
};
