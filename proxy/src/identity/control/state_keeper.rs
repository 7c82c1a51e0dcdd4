//! Keeps the state of this process in a file (`portcullis.sign_in.state_file`), so that the next
//! process knows ended sessions and has the refresh tokens.
//!
//! A refresh token has one holder: a provider that sees an old one again ends the whole grant. So a
//! process that replaces another one reads the file only when the other has written it for the last
//! time, and the other asks the provider for nothing from then on.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::spawn_blocking, time};

use super::{
    IdentityControl, Inner,
    saved_state::SavedState,
    session_table::{Grant, SessionEntry},
    state_file::{self, ReadState, StateFileError},
};
use crate::identity::{
    seal::Seals,
    session::{ProviderId, SessionId},
    shared::SessionUpdate,
};

/// Between a change and the write; also the least time between two writes.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Writes take one part of the time in so many.
const PAUSE_FOR_WRITE: u32 = 10;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How long the last write may take: another process waits for it, or the end of this one.
const LAST_WRITE: Duration = Duration::from_secs(3);
/// How long the file of before may then take to be marked as stale.
const MARK: Duration = Duration::from_secs(1);

/// What a file that cannot be read means.
const UNREAD: &str = "sessions that ended may count until their next check, and users are redirected \
    to the identity provider once their sessions are due, usually without a prompt";

/// The file, and whose it is.
#[derive(Default)]
pub(super) struct StateKeeper {
    settings: RefCell<Option<StateSettings>>,
    phase: Cell<StatePhase>,
    changed: Notify,
    /// One write at a time.
    writing: tokio::sync::Mutex<()>,
    is_failing: Cell<bool>,
    /// The last write took too long: it must not replace the file of the next process.
    given_up: Arc<AtomicBool>,
    /// Whether the next process finds all in the file.
    is_left_whole: Cell<bool>,
}

#[derive(Clone)]
struct StateSettings {
    path: Arc<Path>,
    seals: Arc<Seals>,
}

/// Whose the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum StatePhase {
    /// The process that this one replaces has it.
    Awaited,
    /// This process has it.
    #[default]
    Kept,
    /// The process that has replaced this one has it.
    HandedOver,
}

/// What of a file is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatePart {
    All,
    /// It may say that sessions count which have ended since.
    Ended,
    /// The same. Another process still has the file.
    EndedForNow,
}

impl StateKeeper {
    /// Notes that there is something to write.
    pub(super) fn note_change(&self) {
        self.changed.notify_one();
    }

    /// Whether another process has the refresh tokens now.
    pub(super) fn is_handed_over(&self) -> bool {
        self.phase.get() == StatePhase::HandedOver
    }

    /// Whether the process that this one replaces may still write the file.
    pub(super) fn is_awaited(&self) -> bool {
        self.phase.get() == StatePhase::Awaited && self.settings.borrow().is_some()
    }

    fn settings(&self) -> Option<StateSettings> {
        self.settings.borrow().clone()
    }
}

impl IdentityControl {
    /// Takes the file's place and secrets at start and after a reload, after
    /// [`IdentityControl::configure`]. A file that comes with a reload is not read, only written.
    pub(crate) fn configure_state(&self, seals: Option<Arc<Seals>>) {
        let path = self.0.provider().and_then(|provider| provider.spec().state_file.clone());
        let settings = path.zip(seals).map(|(path, seals)| StateSettings { path, seals });
        self.0.state.settings.replace(settings);
        self.0.state.note_change();
    }

    /// Reads the file at start, before anybody is served. The file of a process that is replaced, and
    /// that still serves, gives its ended sessions for now.
    pub(crate) fn restore(&self, replaces: bool) {
        let (phase, part) = match replaces {
            true => (StatePhase::Awaited, StatePart::EndedForNow),
            false => (StatePhase::Kept, StatePart::All),
        };
        self.0.state.phase.set(phase);
        if let Some(settings) = self.0.state.settings() {
            let read = state_file::read(&settings.path, &settings.seals, !replaces);
            self.0.take_over(read, &settings.path, part);
        }
    }

    /// Takes the file over from the process that was replaced. `is_whole` says whether that process has
    /// said that all it knew is in the file; otherwise the file may be an old one.
    pub(crate) async fn take_over_state(&self, is_whole: bool) {
        if self.0.state.is_handed_over() {
            return;
        }
        let part = if is_whole { StatePart::All } else { StatePart::Ended };
        if let Some(StateSettings { path, seals }) = self.0.state.settings() {
            let place = Arc::clone(&path);
            let read = spawn_blocking(move || state_file::read(&place, &seals, true)).await;
            if self.0.state.is_handed_over() {
                return;
            }
            let read = read.unwrap_or_else(|error| {
                Err(StateFileError::Io(std::io::Error::other(error.to_string())))
            });
            self.0.take_over(read, &path, part);
        }
        self.0.state.phase.set(StatePhase::Kept);
        self.0.state.note_change();
    }

    /// Writes the file for the last time, for the process that replaces this one. From here on this
    /// process uses no refresh token, and ends no session: it could not tell the other. Returns whether
    /// the file holds all that this process knows.
    pub(crate) async fn hand_state_over(&self) -> bool {
        let state = &self.0.state;
        if state.settings().is_none() {
            return false;
        }
        // A process that still awaits the file of another has not read what is in it.
        if state.phase.replace(StatePhase::HandedOver) == StatePhase::Kept {
            let is_written = self.0.write_at_last().await;
            state.is_left_whole.set(is_written);
        }
        state.is_left_whole.get()
    }

    /// Writes the file at the end of the process.
    pub(crate) async fn save_state(&self) {
        if self.0.state.phase.get() == StatePhase::Kept {
            self.0.write_at_last().await;
        }
    }

    /// Writes the file soon after each change, until the process ends. Needs a `LocalSet`.
    pub(crate) async fn keep_state(self) {
        let state = &self.0.state;
        loop {
            state.changed.notified().await;
            time::sleep(SHORTEST_PAUSE).await;
            if state.phase.get() != StatePhase::Kept {
                continue;
            }
            let begun = Instant::now();
            self.0.write().await;
            let pause = match state.is_failing.get() {
                true => PAUSE_AFTER_FAILURE,
                false => begun.elapsed().saturating_mul(PAUSE_FOR_WRITE),
            };
            time::sleep(pause).await;
        }
    }
}

impl Inner {
    /// Whether the file is written in time.
    async fn write_at_last(&self) -> bool {
        if let Ok(is_written) = time::timeout(LAST_WRITE, self.write()).await {
            return is_written;
        }
        tracing::error!(
            "the state file is not written: that took more than {LAST_WRITE:?}; what happened \
             since the last write is lost"
        );
        self.state.given_up.store(true, Ordering::Release);
        if let Some(StateSettings { path, .. }) = self.state.settings() {
            let marked = spawn_blocking(move || state_file::mark_stale(&path));
            // Nobody waits longer for a disk that hangs.
            let _ = time::timeout(MARK, marked).await;
        }
        false
    }

    /// Writes the file on another thread; whether that was done. If not, the file of before is stale:
    /// sessions in it may have ended since.
    async fn write(&self) -> bool {
        let Some(StateSettings { path, seals }) = self.state.settings() else { return false };
        if self.provider().is_none() {
            return false;
        }
        let _turn = self.state.writing.lock().await;
        let saved = self.saved_state();
        let (place, given_up) = (Arc::clone(&path), Arc::clone(&self.state.given_up));
        let written = spawn_blocking(move || {
            let written = state_file::write(&place, &seals, &saved, &given_up);
            written.map_err(|error| match state_file::mark_stale(&place) {
                Ok(()) => error.to_string(),
                Err(stays) => format!("{error}, nor mark the older file as stale: {stays}"),
            })
        });
        let written = written.await;
        let problem = match written {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.state.is_failing.replace(problem.is_some());
        let path = path.display();
        match problem {
            Some(problem) if !was_failing => tracing::error!(
                "cannot write portcullis.sign_in.state_file {path}: {problem}; after a restart \
                 {UNREAD}"
            ),
            None if was_failing => tracing::info!("portcullis.sign_in.state_file is written again"),
            _ => {}
        }
        if self.state.is_failing.get() {
            // To try again.
            self.state.note_change();
        }
        !self.state.is_failing.get()
    }

    /// What the next process needs to know. A session whose check is under way is left out: its
    /// refresh token may be void by now.
    fn saved_state(&self) -> SavedState {
        let in_flight = self.in_flight.borrow();
        let sessions = self.sessions.borrow();
        let settled = sessions.iter().filter(|(id, _)| !in_flight.contains_key(id));
        SavedState {
            suspect_before_s: self.shared.suspect_before_s(),
            users: self.shared.ended_users(),
            ended: self.ended.borrow().iter().collect(),
            sessions: settled.map(|(id, entry)| (id, entry.clone())).collect(),
        }
    }

    fn take_over(
        self: &Rc<Self>,
        read: Result<Option<ReadState>, StateFileError>,
        path: &Path,
        part: StatePart,
    ) {
        let path = path.display();
        match read {
            Ok(None) => tracing::info!("there is no portcullis.sign_in.state_file {path} yet"),
            Ok(Some(ReadState { state, is_open_to_others, is_stale })) => {
                if is_open_to_others {
                    tracing::warn!(
                        "portcullis.sign_in.state_file {path} is open to other users of this machine; \
                         it is sealed, and the next write makes it private (mode 600)"
                    );
                }
                self.adopt(state, if is_stale { StatePart::Ended } else { part });
            }
            Err(error) => {
                let renamed = match part != StatePart::EndedForNow && error.is_of_content() {
                    true => "; it was renamed to *.unreadable",
                    false => "",
                };
                tracing::warn!(
                    "portcullis.sign_in.state_file {path} is not used: {error}{renamed}; {UNREAD}"
                );
            }
        }
    }

    /// Takes a state over, as far as it still matters.
    fn adopt(self: &Rc<Self>, state: SavedState, part: StatePart) {
        let now_s = (self.clock)();
        let SavedState { suspect_before_s, users, ended, sessions } = state;
        // The ends may be too many to remember each of them.
        let ended_here: HashSet<SessionId> = sessions
            .iter()
            .filter(|(id, entry)| self.has_ended(*id, entry))
            .map(|(id, _)| *id)
            .collect();
        self.shared.raise_suspect_before(suspect_before_s);
        self.ended.borrow_mut().restore(ended, &users, now_s, &self.shared);
        let Some(provider) = self.provider().filter(|_| part == StatePart::All) else { return };
        let spec = provider.spec();
        let clients: HashSet<ProviderId> = spec.clients().map(|client| client.provider).collect();
        let (mut adopted, mut updates) = (0_usize, Vec::new());
        for (id, mut entry) in sessions {
            let is_known = self.sessions.borrow().get(id).is_some();
            let is_of_client = clients.contains(&entry.client);
            if is_known || !is_of_client || entry.current.ends_at_s <= now_s {
                continue;
            }
            if ended_here.contains(&id) || self.has_ended(id, &entry) {
                // It ended in this process, which did not have its refresh token yet.
                self.end(id, entry.current.ends_at_s);
                if let Grant::RefreshToken(token) = entry.grant {
                    self.revoke_later(entry.client, Some(token));
                }
                continue;
            }
            adopted += 1;
            let identity = &entry.current.identity;
            let noted_s = users.end_of(identity).suspect_before_s.max(suspect_before_s);
            let suspect_s = self.shared.user_end(identity).suspect_before_s;
            let suspect_s = suspect_s.max(self.shared.suspect_before_s());
            let is_unknown_suspect = suspect_s > noted_s && entry.checked_at_s < suspect_s;
            // The file has no tokens: a cookie's own tokens must not count for longer than it says.
            let has_tokens = matches!(entry.grant, Grant::RefreshToken(_))
                && spec.wanted_tokens(entry.client).any();
            if is_unknown_suspect || has_tokens {
                // The other process did not know of the suspicion.
                entry.require_check();
            } else {
                updates.push((id, SessionUpdate::Renewed(Arc::clone(&entry.current))));
            }
            let gone: Vec<SessionId> = self.sessions.borrow_mut().insert(id, entry);
            self.shared.remove_updates(gone);
        }
        tracing::info!(sessions = adopted, "the state file was taken over");
        self.shared.set_updates(updates);
    }

    fn has_ended(&self, id: SessionId, entry: &SessionEntry) -> bool {
        let end = self.shared.user_end(&entry.current.identity);
        self.ended.borrow().has(id) || entry.began_at_s < end.ended_before_s
    }
}
