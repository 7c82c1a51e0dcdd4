//! Observability: metrics, access records, log.

mod cells;
mod certificate;
mod control;
mod exposition;
mod histogram;
mod labels;
mod log;
mod names;
mod observer;
mod record;
mod registry;
mod spec;
mod status;
mod steering;
mod time;
mod worker;

pub use cells::Cell;
pub use certificate::CertificateSummary;
pub use control::{ConfigFacts, ConfiguredCertificate, ConfiguredCrl, Metrics, RenewedFacts};
pub use histogram::Histogram;
pub use labels::{
    ClosedReason, CodeClass, Family, HandshakeResult, HttpProtocol, Label, RefusedReason,
    SegmentOutcome, SteeringOutcome, TlsVersion, UpstreamFailure,
};
pub use log::Log;
pub use names::metrics_reference;
pub use observer::WorkerObserver;
pub use record::{CapturedHeaders, ConnectionRecord, PolicyRecord, RequestRecord};
pub use registry::{
    ConfiguredRoutes, CountedOnUse, EndpointCells, EndpointMetrics, EndpointRegistry, PerWorker,
    Registry, RouteCells, RouteFacts, RouteMetrics, RouteRegistry,
};
pub use spec::{AccessField, Level, LogFormat, LogSpec, UnknownAccessField};
pub use status::{
    CertificateUsage, CertificateView, ConfigView, CrlView, HostView, PlaceView, Readiness,
    ReloadView, RouteView, StatusView, SteeringView, UpstreamView, WorkerView,
};
pub use steering::{KernelCounts, SteeringSource, WorkerLoad};
pub use worker::{HandshakeCells, UpstreamCells, WorkerMetrics};
