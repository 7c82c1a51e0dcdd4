//! Which file is the configuration.

use std::path::PathBuf;

use clap::ValueHint;

use crate::config::{self, ConfigLocation, Diagnostics, Environment, Loaded};

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ConfigFile {
    /// The configuration file [default: /etc/portcullis/config.yaml; if there is none, environment
    /// variables alone].
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// The same for commands that also take the file as their argument.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ConfigArgument {
    #[command(flatten)]
    option: ConfigFile,
    /// The same as `--config FILE`.
    #[arg(value_name = "FILE", conflicts_with = "config", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

impl ConfigFile {
    /// Of a file that was named.
    pub(super) fn named(path: PathBuf) -> ConfigFile {
        ConfigFile { config: Some(path) }
    }

    pub(super) fn location(&self) -> ConfigLocation {
        match &self.config {
            Some(path) => ConfigLocation::named(path),
            None => ConfigLocation::default(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.location().path
    }

    /// Reads the configuration, with the environment of this process over it.
    pub(super) fn load(&self) -> Result<Loaded, Diagnostics> {
        config::load(&self.location(), &Environment::of_process())
    }
}

impl ConfigArgument {
    pub(super) fn named(path: PathBuf) -> ConfigArgument {
        ConfigArgument { option: ConfigFile::named(path), file: None }
    }

    pub(super) fn file(&self) -> ConfigFile {
        match &self.file {
            Some(path) => ConfigFile::named(path.clone()),
            None => self.option.clone(),
        }
    }
}
