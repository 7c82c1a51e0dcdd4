//! The peers that run on Node: the identity provider, and the upstream that verifies assertions.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context, Result};

use crate::command::{command, root, run, target};

/// The files of `tests/peers/oidc-provider`, besides the packages in their lock file.
pub(crate) struct NodePeers {
    directory: PathBuf,
}

const FILES: [&str; 4] = ["package.json", "package-lock.json", "server.mjs", "verify.mjs"];

impl NodePeers {
    /// Copies the files to `target/test-peers`, which the tests use too, and installs the packages
    /// unless those of this lock file are present.
    pub(crate) fn install() -> Result<NodePeers> {
        let parent = target().join("test-peers");
        let directory = parent.join("oidc-provider");
        fs::create_dir_all(&directory)?;
        let lock = File::create(parent.join("oidc-provider.lock"))?;
        lock.lock().context("cannot lock the directory of the Node peers")?;
        let source = root().join("tests/peers/oidc-provider");
        for name in FILES {
            fs::copy(source.join(name), directory.join(name))
                .with_context(|| format!("cannot copy {name}"))?;
        }
        let wanted = fs::read(source.join("package-lock.json"))?;
        let installed = directory.join("installed.json");
        if fs::read(&installed).is_ok_and(|content| content == wanted) {
            return Ok(NodePeers { directory });
        }
        println!("* Installing the identity provider's packages with npm");
        let mut npm = command("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        run(npm.current_dir(&directory))?;
        fs::write(&installed, wanted)?;
        Ok(NodePeers { directory })
    }

    /// The path of one of the scripts.
    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
