//! Observability: metrics, access records, log.

mod cells;
mod certificate;
mod control;
mod exposition;
mod health;
mod histogram;
mod identity;
mod labels;
mod log;
mod names;
mod observer;
mod process;
mod record;
mod registry;
mod spec;
mod status;
mod steering;
mod time;
mod unreachable;
mod worker;

pub(crate) use cells::Cell;
pub(crate) use certificate::CertificateSummary;
pub(crate) use control::{
    ConfigFacts, ConfiguredCertificate, ConfiguredCrl, Metrics, RenewedFacts,
};
pub(crate) use health::{EndpointHealthFacts, HealthMetrics, HealthSource};
pub(crate) use histogram::Histogram;
pub(crate) use identity::IdentityMetrics;
pub(crate) use labels::{
    BackchannelLogoutOutcome, Blame, CircuitLimit, ClosedReason, EjectionReason, HandshakeResult,
    HealthCheckOutcome, HttpProtocol, Label, ProviderCallOutcome, ProviderEndpoint, RecheckOutcome,
    RefusedReason, RequestRefusal, SegmentOutcome, SessionCookieOutcome, SignInOutcome,
    SteeringOutcome, TlsVersion, UpstreamCertificateReason, UpstreamFailure, UpstreamRetry,
};
pub(crate) use log::Log;
pub(crate) use names::metrics_reference;
pub(crate) use observer::WorkerObserver;
pub(crate) use record::{
    CapturedHeaders, ConnectionRecord, PolicyRecord, RequestRecord, UserRecord, is_about_sign_in,
};
pub(crate) use registry::{
    ConfiguredRoutes, EndpointCells, EndpointMetrics, EndpointRegistry, RouteFacts, RouteMetrics,
};
pub(crate) use spec::{AccessField, Level, LogFormat, LogSpec, UnknownAccessField};
pub(crate) use status::{
    CertificateUsage, CertificateView, ConfigView, CrlView, DescriptorView, EndpointHealthState,
    EndpointHealthView, HostView, PlaceView, Readiness, RefusalView, ReloadView, RouteView,
    StatusView, SteeredView, SteeringView, UnreachableView, UpstreamView, WorkerView,
};
pub(crate) use steering::{CatcherCounts, KernelCounts, SteeringSource, WorkerLoad};
pub(crate) use time::now_rfc3339;
pub(crate) use unreachable::{ReachabilityChange, UnreachableEndpoints};
pub(crate) use worker::{UpstreamCells, WorkerMetrics};
