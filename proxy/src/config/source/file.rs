//! A configuration in a file.

use std::{io, rc::Rc};

use super::{ConfigLocation, Source, watcher::Watcher};
use crate::config::{
    Diagnostics, Environment, Loaded, ReadFile, Severity,
    context::{LoadContext, reason},
    load, unreadable,
};

/// The configuration file, with the environment over it, and the files that it names.
#[derive(Debug)]
pub(crate) struct FileSource {
    location: ConfigLocation,
    environment: Environment,
    /// What the last load read.
    files: Vec<ReadFile>,
    /// `None` until somebody waits for a change.
    watcher: Option<Watcher>,
}

impl FileSource {
    /// Nothing is read yet.
    pub(crate) fn new(location: ConfigLocation, environment: Environment) -> FileSource {
        FileSource { location, environment, files: Vec::new(), watcher: None }
    }

    /// The configuration file; it may be missing if none was there.
    pub(crate) fn location(&self) -> &ConfigLocation {
        &self.location
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
        self.location.path.display().to_string()
    }

    async fn load(&mut self) -> Result<Loaded, Diagnostics> {
        let mut outcome = load(&self.location, &self.environment);
        let files = match &mut outcome {
            Ok(loaded) => &mut loaded.config.files,
            Err(refused) => &mut refused.files,
        };
        if files.first().is_some_and(|document| document.digest.is_some()) {
            // From now on a missing file is a mistake, after which the routes stay as they are.
            self.location.may_be_missing = false;
        }
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
pub(in super::super) fn read(
    location: &ConfigLocation,
    environment: &Environment,
    context: &mut LoadContext,
) -> Option<Rc<String>> {
    match context.read_document(&location.path) {
        Ok(content) => match String::from_utf8(content) {
            Ok(text) => return Some(text.into()),
            Err(error) => {
                let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
                let line = before.filter(|byte| **byte == b'\n').count() + 1;
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                context.report_line(line, "is not valid UTF-8");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && location.may_be_missing => {
            if environment.has_a_key() {
                context.set_name("environment variables");
                return Some(Rc::default());
            }
            let hint = "name another file by --config, or configure by environment variables alone";
            let message = "there is no such file, and no environment variable of a key";
            context.report(Severity::Error, "", message, Some(hint.to_owned()));
        }
        Err(error) => {
            let hint = unreadable::hint(&location.path, &error);
            context.report(
                Severity::Error,
                "",
                format!("cannot be read: {}", reason(&error)),
                hint,
            );
        }
    }
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
        let location = ConfigLocation::named(&dir.file("config.yaml"));
        let mut source = FileSource::new(location, Environment::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert!(source.load().await.is_err());
            dir.write("config.yaml", good);
            tokio::time::timeout(DEADLINE, source.changed()).await.unwrap();
            assert!(source.load().await.is_ok());
        });
    }

    #[test]
    fn the_environment_alone_is_a_configuration_until_there_was_a_file() {
        let dir = Dir::new();
        let path = dir.file("config.yaml");
        let file = |name: &str| dir.file(name).display().to_string();
        let environment = Environment::from_iter([
            ("CERTIFICATE_FILE", file("server.pem")),
            ("CERTIFICATE_KEY_FILE", file("server-key.pem")),
        ]);
        let location = ConfigLocation { path: path.clone(), may_be_missing: true };
        let named = load(&ConfigLocation::named(&path), &environment).unwrap_err();
        assert!(named.to_string().contains("cannot be read: no such file"), "{named}");
        let without = load(&location, &Environment::default()).unwrap_err();
        assert!(without.to_string().contains("there is no such file, and no"), "{without}");
        let mut source = FileSource::new(location, environment);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert!(source.load().await.is_ok());
            dir.write("config.yaml", "timeout_read: 5s");
            tokio::time::timeout(DEADLINE, source.changed()).await.unwrap();
            assert!(source.load().await.is_ok());
            std::fs::remove_file(&path).unwrap();
            tokio::time::timeout(DEADLINE, source.changed()).await.unwrap();
            assert!(source.load().await.is_err());
        });
    }
}
