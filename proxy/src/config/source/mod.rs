//! Where a configuration comes from.
//!
//! A source supplies the document and reports changes. What a source does with the document is the
//! same for all of them: [`super::assemble`] lays the environment over it, reads the files that it
//! names, and checks it. Today there is one source, a file. A store of keys (etcd) joins as another
//! implementation of [`Source`] that fetches its document in `load` and waits for its revision to
//! move, or for a named file to change, in `changed`.

mod file;
mod location;
mod watcher;

pub(crate) use file::FileSource;
pub(crate) use location::ConfigLocation;

pub(super) use file::read;

use super::{Diagnostics, Loaded, ReadFile};

/// A place that configurations are loaded from, again and again, on a thread that may block.
pub(crate) trait Source {
    /// The name of the source in status, metrics and the log: the path of a file.
    fn name(&self) -> String;

    /// Reads and checks the configuration as it is now.
    ///
    /// Fails with every mistake that was found. Either way, what was read is what
    /// [`Source::changed`] compares with from now on.
    fn load(&mut self) -> impl Future<Output = Result<Loaded, Diagnostics>>;

    /// Waits until the configuration differs from what was loaded last. Returns the files that have
    /// changed; none means that anything may have changed. Cancel-safe.
    fn changed(&mut self) -> impl Future<Output = Vec<ReadFile>>;

    /// Says that some of its files were read once more, alone: [`Source::changed`] compares with
    /// these from now on.
    fn renewed(&mut self, files: Vec<ReadFile>);
}
