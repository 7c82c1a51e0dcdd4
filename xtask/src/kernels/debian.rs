//! The kernels of Debian's releases, as packages from the release's own index.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::command::{command, run, said_by};

/// A release, and its kernel.
pub(super) struct Release {
    pub(super) codename: &'static str,
    pub(super) title: &'static str,
}

/// The releases that users run. The kernel of the first one is the oldest that is supported.
pub(super) const RELEASES: [Release; 2] = [
    Release { codename: "bookworm", title: "Debian 12, Linux 6.1" },
    Release { codename: "trixie", title: "Debian 13, Linux 6.12" },
];

/// Depends on the package of the release's current kernel.
const CURRENT_KERNEL: &str = "linux-image-amd64";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked kernel.
pub(super) struct Kernel {
    pub(super) version: String,
    /// The image to boot.
    pub(super) image: PathBuf,
    /// The directory of its modules.
    modules: PathBuf,
}

impl Release {
    /// The current kernel of the release, downloaded if it is a new one.
    pub(super) fn kernel(&self, directory: &Path) -> Result<Kernel> {
        let apt = Apt::prepare(self.codename, &directory.join(self.codename))?;
        run(apt.get("update").arg("-qq"))?;
        let package = depends_on(&said_by(apt.cache("depends").arg(CURRENT_KERNEL))?)?;
        let version = version(&said_by(apt.cache("show").args(["--no-all-versions", &package]))?)?;
        let unpacked = apt.directory.join(format!("{package}_{version}"));
        if !unpacked.exists() {
            println!("Downloading {package} {version}");
            // It is complete, or it is not there.
            let partial = apt.directory.join("partial");
            let _ = fs::remove_dir_all(&partial);
            fs::create_dir(&partial)?;
            run(apt.get("download").args(["-qq", &package]).current_dir(&partial))?;
            let file = fs::read_dir(&partial)?.next().context("apt has downloaded nothing")??;
            let files = partial.join("files");
            run(command("dpkg-deb").arg("-x").arg(file.path()).arg(&files))?;
            fs::rename(&files, &unpacked)?;
            fs::remove_dir_all(&partial)?;
        }
        Kernel::in_directory(&unpacked)
    }
}

impl Kernel {
    fn in_directory(unpacked: &Path) -> Result<Self> {
        let prefix = "vmlinuz-";
        let boot = unpacked.join("boot");
        let names = fs::read_dir(&boot).with_context(|| boot.display().to_string())?;
        let names = names.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        let image = names.into_iter().find(|name| name.starts_with(prefix));
        let image = image.with_context(|| format!("no kernel in {}", boot.display()))?;
        let version = image.trim_start_matches(prefix).to_owned();
        let below_usr = unpacked.join("usr/lib/modules").join(&version);
        let below_root = unpacked.join("lib/modules").join(&version);
        let modules = if below_usr.is_dir() { below_usr } else { below_root };
        Ok(Self { version, image: boot.join(image), modules })
    }

    /// A module's bytes; `None` if the kernel contains it, or has none of this name.
    pub(super) fn module(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let plain = self.modules.join("kernel").join(format!("{path}.ko"));
        let compressed = plain.with_extension("ko.xz");
        if plain.is_file() {
            return Ok(Some(fs::read(plain)?));
        }
        if !compressed.is_file() {
            return Ok(None);
        }
        let output = command("xz").arg("-dc").arg(&compressed).output()?;
        ensure!(output.status.success(), "xz cannot unpack {}", compressed.display());
        Ok(Some(output.stdout))
    }
}

/// apt with an index and a cache of its own, so that the machine's own are not changed.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// The release is read from the mirrors that this machine uses for its own release.
    fn prepare(codename: &str, directory: &Path) -> Result<Self> {
        for below in ["lists/partial", "cache/archives/partial", "sources"] {
            fs::create_dir_all(directory.join(below))?;
        }
        let mut targets = command("apt-get");
        targets.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"]);
        let mirrors = mirrors(&said_by(targets.arg("Identifier: Packages"))?, codename)?;
        fs::write(directory.join("sources/kernels.sources"), mirrors)?;
        // apt runs in this directory, and paths in its options must be absolute.
        Ok(Self { directory: directory.canonicalize()? })
    }

    fn get(&self, order: &str) -> Command {
        self.run("apt-get", order)
    }

    fn cache(&self, order: &str) -> Command {
        self.run("apt-cache", order)
    }

    fn run(&self, program: &str, order: &str) -> Command {
        let directory = self.directory.display();
        let mut apt = command(program);
        apt.current_dir(&self.directory);
        for option in [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={directory}/sources"),
            format!("Dir::State::Lists={directory}/lists"),
            // What is installed here does not matter.
            "Dir::State::Status=/dev/null".to_owned(),
            format!("Dir::Cache={directory}/cache"),
            "APT::Architecture=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        apt.arg(order);
        apt
    }
}

/// The sources of a release and of its security updates, at the mirrors of this machine: lines of
/// URI, codename and component.
fn mirrors(targets: &str, codename: &str) -> Result<String> {
    let mirror = |is_security: bool| {
        targets.lines().find_map(|line| {
            let [uri, suite, "main"] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
            let is_debian = RELEASES.iter().any(|release| suite.starts_with(release.codename));
            let is_wanted = is_security == suite.ends_with("-security") && is_debian;
            is_wanted.then_some(uri)
        })
    };
    let source = |uri: &str, suite: String| {
        format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYS}\n\n")
    };
    let main = mirror(false).context("apt has no mirror of Debian; add one to its sources")?;
    let security = mirror(true).map(|uri| source(uri, format!("{codename}-security")));
    Ok(source(main, codename.to_owned()) + &security.unwrap_or_default())
}

fn depends_on(said: &str) -> Result<String> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(line.with_context(|| format!("{CURRENT_KERNEL} depends on nothing"))?.to_owned())
}

fn version(said: &str) -> Result<String> {
    let version = said.lines().find_map(|line| line.strip_prefix("Version: "));
    Ok(version.context("apt shows no version")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_comes_from_the_mirrors_of_this_machine() {
        let targets = "http://a/debian/ bookworm main\nhttp://a/debian/ bookworm-updates main\n\
                       http://a/security/ bookworm-security main\nhttp://else/ nodistro main\n";
        let sources = mirrors(targets, "trixie").unwrap();
        assert!(sources.contains("URIs: http://a/debian/\nSuites: trixie\n"), "{sources}");
        assert!(sources.contains("URIs: http://a/security/\nSuites: trixie-security\n"));
        assert!(!sources.contains("else"));
        assert!(mirrors("http://else/ nodistro main\n", "trixie").is_err());
    }

    #[test]
    fn apt_names_the_package_and_its_version() {
        let said = "linux-image-amd64\n  Depends: linux-image-6.1.0-57-amd64\n";
        assert_eq!(depends_on(said).unwrap(), "linux-image-6.1.0-57-amd64");
        assert_eq!(version("Package: x\nVersion: 6.1.192-3\n").unwrap(), "6.1.192-3");
        assert!(version("").is_err());
    }
}
