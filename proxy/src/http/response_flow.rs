//! Whether a response waits for its client to read.

use std::{
    cell::Cell,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{limit::Limit, response_data::UnsentData};

/// How long a client may leave a response unread, as nginx's `send_timeout`.
pub(crate) const SEND_STALL: Duration = Duration::from_secs(60);

/// What a response did while the task that sends it was polled.
///
/// Each stream of HTTP/2, and each connection of HTTP/1, sends one response in one task. A client that
/// does not read (a full socket, or a window that it never opens) shows in that the task, after its
/// poll, has a piece of the response and did not ask for the next. In HTTP/2 the end of a response counts
/// as its last piece until h2 has sent what is before it. So a response that is read at once costs no
/// timer.
#[derive(Default)]
pub(crate) struct ResponseFlow {
    step: Cell<ResponseStep>,
    cut_off: Cell<Option<Limit>>,
    /// The whole connection is cut off, with all its responses.
    cuts_all: Cell<bool>,
    /// What of the response waits for the client's windows, if that is new.
    unsent: Cell<Option<Rc<UnsentData>>>,
}

impl fmt::Debug for ResponseFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFlow").field("step", &self.step).finish_non_exhaustive()
    }
}

/// What the last poll did with its response.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseStep {
    /// Nothing.
    #[default]
    Unchanged,
    /// It asked for the next piece, or the response is over.
    Moving,
    /// It was given a piece and did not ask for the next.
    Held(HeldResponse),
}

/// A response that waits for its client to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldResponse {
    since: Instant,
    /// The limit of its route that is reached first.
    route: Option<(Instant, Limit)>,
}

impl HeldResponse {
    /// When it is to be cut off, and why: at a limit of its route, or if its client reads nothing for a
    /// minute, after it last read something at `progress`.
    pub(crate) fn limit(&self, progress: Option<Instant>) -> (Instant, Limit) {
        let since = progress.map_or(self.since, |progress| progress.max(self.since));
        let unread = (since + SEND_STALL, Limit::Unread);
        self.route.filter(|route| route.0 < unread.0).unwrap_or(unread)
    }
}

impl ResponseFlow {
    /// To be called before a task that sends a response is polled.
    pub(crate) fn begin_poll(&self) {
        self.step.set(ResponseStep::Unchanged);
        self.unsent.take();
    }

    /// What the task did in its poll.
    pub(crate) fn step(&self) -> ResponseStep {
        self.step.get()
    }

    /// What of the response waits for the client's windows, if the task began to wait for them.
    pub(crate) fn take_unsent(&self) -> Option<Rc<UnsentData>> {
        self.unsent.take()
    }

    /// Says that the response is cut off. To be called right before it is dropped.
    pub(crate) fn cut_off(&self, limit: Limit) {
        self.cut_off.set(Some(limit));
    }

    /// Says that all responses of the connection are cut off, since its client does not read.
    pub(crate) fn cut_off_all(&self) {
        self.cut_off(Limit::Unread);
        self.cuts_all.set(true);
    }

    /// Notes that a part of the response waits for the client's windows.
    pub(crate) fn waits(&self, unsent: &Rc<UnsentData>) {
        self.unsent.set(Some(Rc::clone(unsent)));
    }

    /// Notes that the response gave a piece, or its head.
    pub(crate) fn gave(&self, since: Instant, route: Option<(Instant, Limit)>) {
        self.step.set(ResponseStep::Held(HeldResponse { since, route }));
    }

    /// Notes that the response is asked for its next piece, or is over.
    pub(crate) fn moves(&self) {
        self.step.set(ResponseStep::Moving);
    }

    /// Why the response that is dropped now was cut off, if it was.
    pub(super) fn take_cut_off(&self) -> Option<Limit> {
        if self.cuts_all.get() { self.cut_off.get() } else { self.cut_off.take() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_response_is_held_until_its_routes_limit_or_for_a_minute() {
        let since = Instant::now();
        let limit = |route| HeldResponse { since, route }.limit(None);
        assert_eq!(limit(None), (since + SEND_STALL, Limit::Unread));
        let early = (since + seconds(4), Limit::Stream);
        assert_eq!(limit(Some(early)), early);
        let late = (since + seconds(90), Limit::Response);
        assert_eq!(limit(Some(late)), (since + SEND_STALL, Limit::Unread));
    }

    #[test]
    fn a_response_of_which_the_client_reads_ends_by_its_route_alone() {
        let since = Instant::now();
        let limit = |progress_s, route| {
            HeldResponse { since, route }.limit(Some(since + seconds(progress_s)))
        };
        assert_eq!(limit(50, None), (since + seconds(50) + SEND_STALL, Limit::Unread));
        let late = (since + seconds(90), Limit::Response);
        assert_eq!(limit(50, Some(late)), late);
    }

    #[test]
    fn with_its_connection_every_response_is_cut_off() {
        let flow = ResponseFlow::default();
        flow.cut_off(Limit::Stream);
        assert_eq!((flow.take_cut_off(), flow.take_cut_off()), (Some(Limit::Stream), None));
        flow.cut_off_all();
        for _ in 0..2 {
            assert_eq!(flow.take_cut_off(), Some(Limit::Unread));
        }
    }

    #[test]
    fn a_response_is_held_from_its_last_piece_until_it_is_asked() {
        let (flow, start) = (ResponseFlow::default(), Instant::now());
        flow.gave(start, None);
        flow.gave(start + seconds(1), None);
        let held = HeldResponse { since: start + seconds(1), route: None };
        assert_eq!(flow.step(), ResponseStep::Held(held));
        flow.moves();
        assert_eq!(flow.step(), ResponseStep::Moving);
        flow.begin_poll();
        assert_eq!(flow.step(), ResponseStep::Unchanged);
    }
}
