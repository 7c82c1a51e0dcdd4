//! A configuration in a file.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{Source, watcher::Watcher};
use crate::config::{
    Diagnostics, Environment, Loaded, ReadFile,
    context::{LoadContext, reason},
    load,
};

/// The configuration file, with the environment over it, and the files that it names.
#[derive(Debug)]
pub(crate) struct FileSource {
    path: PathBuf,
    environment: Environment,
    /// What the last load read.
    files: Vec<ReadFile>,
    /// `None` until somebody waits for a change.
    watcher: Option<Watcher>,
}

impl FileSource {
    /// Nothing is read yet.
    pub(crate) fn new(path: &Path, environment: Environment) -> FileSource {
        FileSource { path: path.to_owned(), environment, files: Vec::new(), watcher: None }
    }

    /// The configuration file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A refused configuration is watched like any other: a corrected file is a change.
    fn watch(&mut self, files: Vec<ReadFile>) {
        match &mut self.watcher {
            Some(watcher) => watcher.set_files(files),
            None => self.files = files,
        }
    }
}

impl Source for FileSource {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    async fn load(&mut self) -> Result<Loaded, Diagnostics> {
        let mut outcome = load(&self.path, &self.environment);
        let files = match &mut outcome {
            Ok(loaded) => &mut loaded.config.files,
            Err(refused) => &mut refused.files,
        };
        self.watch(std::mem::take(files));
        outcome
    }

    async fn changed(&mut self) -> Vec<ReadFile> {
        let files = &mut self.files;
        let watcher = self.watcher.get_or_insert_with(|| Watcher::new(std::mem::take(files)));
        watcher.changed().await
    }

    fn renewed(&mut self, files: Vec<ReadFile>) {
        if let Some(watcher) = &mut self.watcher {
            watcher.update_files(files);
        }
    }
}

/// The text of the configuration file; `None` if it cannot be read, which the context then reports.
pub(in super::super) fn read(path: &Path, context: &LoadContext) -> Option<Rc<String>> {
    let problem = match context.read_document(path) {
        Ok(content) => match String::from_utf8(content) {
            Ok(text) => return Some(text.into()),
            Err(error) => {
                let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
                let line = before.filter(|byte| **byte == b'\n').count() + 1;
                context.report_line(u32::try_from(line).ok(), "", "is not valid UTF-8".to_owned());
                return None;
            }
        },
        Err(error) => format!("cannot be read: {}", reason(&error)),
    };
    context.report_line(None, "", problem);
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::tests::support::{Dir, with_certificate};

    /// Only a fault waits this long.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[test]
    fn a_refused_file_is_watched_until_it_is_corrected() {
        let dir = Dir::new();
        dir.load(&with_certificate(""), &[]).unwrap();
        let good = std::fs::read_to_string(dir.file("config.yaml")).unwrap();
        dir.write("config.yaml", "address: nonsense");
        let mut source = FileSource::new(&dir.file("config.yaml"), Environment::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert!(source.load().await.is_err());
            dir.write("config.yaml", good);
            tokio::time::timeout(DEADLINE, source.changed()).await.unwrap();
            assert!(source.load().await.is_ok());
        });
    }
}
