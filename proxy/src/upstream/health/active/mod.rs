//! Active health checks, as in Envoy: each endpoint is asked again and again whether it is well.
//!
//! All of it runs on the thread `health` (`thread`, `monitor_loop`), apart from the control thread, whose
//! work would make checks late and which has the other end (`monitor`). A task for each endpoint and check (`checked`) asks (`probe`, over a `stream`: `http`,
//! `grpc`, `tcp`) and counts the results (`verdict`). What is known belongs to a `key`, so that it outlives
//! reloads and, as a line of text, the process (`inherited`). A failure that this process may have caused
//! by not running does not count (`stall`).

mod board;
mod checked;
mod context;
mod failure;
mod grpc;
mod http;
mod http_connection;
mod inherited;
mod key;
mod monitor;
mod monitor_loop;
mod probe;
mod spec;
mod stall;
mod stream;
mod tcp;
mod thread;
mod verdict;
mod watched;

pub(crate) use http::may_have_body;
pub(crate) use monitor::HealthMonitor;
pub(crate) use spec::{
    CheckHttpVersion, CheckIntervals, CheckThresholds, CheckerSpec, GrpcCheckSpec, HealthCheckSpec,
    HttpCheckSpec, NoTrafficIntervals, TcpCheckSpec,
};
