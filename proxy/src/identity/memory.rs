//! What one worker remembers of sessions: it opens each cookie once, and signs an assertion at most
//! once a minute for each session and host.

mod assertions;
mod known;

use std::{cell::RefCell, collections::HashMap, mem, rc::Rc};

pub(crate) use assertions::{AssertionMemory, CertificateAssertions, KeptAssertion};
pub(crate) use known::KnownSession;

/// The most sessions that are remembered.
const MAX_SESSIONS: usize = 4_096;
/// The most bytes that they may have, as [`KnownSession::weight`] counts them.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// A sealed cookie ends with its authentication tag in 16 characters or more.
const TAG_CHARS: usize = 16;

type Tag = [u8; TAG_CHARS];

/// The sessions that a worker has opened lately.
#[derive(Debug, Default)]
pub(crate) struct SessionMemory {
    halves: RefCell<Halves>,
}

/// Two halves: when the young one is full it becomes the old one, and what nobody asked for since
/// then is forgotten. Each has half of the bounds.
#[derive(Debug, Default)]
struct Halves {
    /// The configuration that the sessions were opened by.
    epoch: u64,
    young: Half,
    old: Half,
}

#[derive(Debug, Default)]
struct Half {
    sessions: HashMap<Tag, Rc<KnownSession>>,
    bytes: usize,
}

impl SessionMemory {
    /// The session that these bytes of a `Cookie` header stood for in this scope, by the
    /// configuration with this number.
    pub(crate) fn find(
        &self,
        epoch: u64,
        scope: &str,
        presented: &[u8],
    ) -> Option<Rc<KnownSession>> {
        let tag = tag(presented)?;
        let mut halves = self.halves.borrow_mut();
        if halves.epoch != epoch {
            return None;
        }
        if let Some(known) = halves.young.sessions.get(&tag) {
            return known.is_for(scope, presented).then(|| Rc::clone(known));
        }
        let known = Rc::clone(halves.old.sessions.get(&tag)?);
        if !known.is_for(scope, presented) {
            return None;
        }
        halves.insert(tag, Rc::clone(&known));
        Some(known)
    }

    /// Remembers a session. One that was opened by an older configuration than others is not kept.
    pub(crate) fn insert(&self, epoch: u64, known: &Rc<KnownSession>) {
        let Some(tag) = tag(known.presented()) else { return };
        let mut halves = self.halves.borrow_mut();
        if epoch > halves.epoch {
            *halves = Halves { epoch, ..Halves::default() };
        }
        if epoch == halves.epoch {
            halves.insert(tag, Rc::clone(known));
        }
    }

    /// Forgets a session.
    pub(crate) fn forget(&self, known: &KnownSession) {
        let Some(tag) = tag(known.presented()) else { return };
        let mut halves = self.halves.borrow_mut();
        halves.young.remove(&tag);
        halves.old.remove(&tag);
    }
}

impl Halves {
    fn insert(&mut self, tag: Tag, known: Rc<KnownSession>) {
        self.old.remove(&tag);
        self.young.remove(&tag);
        let is_full = self.young.sessions.len() >= MAX_SESSIONS / 2
            || self.young.bytes + known.weight() > MAX_BYTES / 2;
        if is_full {
            self.old = mem::take(&mut self.young);
        }
        self.young.bytes += known.weight();
        self.young.sessions.insert(tag, known);
    }
}

impl Half {
    fn remove(&mut self, tag: &Tag) {
        if let Some(known) = self.sessions.remove(tag) {
            self.bytes = self.bytes.saturating_sub(known.weight());
        }
    }
}

/// The last characters, which are those of the tag: no two cookies that open have the same.
fn tag(presented: &[u8]) -> Option<Tag> {
    presented.last_chunk().copied()
}

#[cfg(test)]
mod tests;
