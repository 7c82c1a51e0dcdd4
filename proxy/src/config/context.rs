//! What one load collects: findings with their places, and the files that it read.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, hash_map::Entry},
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde_yaml::Value;

use super::{
    diagnostic::{Diagnostic, Severity},
    model::{FileUsage, ReadFile},
    pieces::LongList,
    places::{Places, YamlFault},
};
use crate::{digest::sha256, regular_file};

/// The largest file that is read. A configuration of 100,000 routes takes about 40 MiB.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// Collects findings and files. Checks share it, so it is mutable inside.
pub(super) struct LoadContext {
    file: String,
    places: Places,
    list: Option<LongList>,
    list_not_read: Cell<bool>,
    /// The environment variable that supplied a key's value, by key path.
    variables: HashMap<String, String>,
    findings: RefCell<Vec<Diagnostic>>,
    files: RefCell<Vec<ReadFile>>,
    usages: RefCell<HashMap<PathBuf, FileUsage>>,
    /// Files that something was reported about.
    reported: RefCell<HashSet<PathBuf>>,
    /// One load sees one version of a file, however many keys name it. `None` if the file could not
    /// be read, or is the document.
    contents: RefCell<HashMap<PathBuf, Option<Rc<[u8]>>>>,
}

impl LoadContext {
    /// Nothing collected yet; findings show `file`.
    pub(super) fn new(file: &Path) -> LoadContext {
        LoadContext::named(file.display().to_string())
    }

    fn named(file: String) -> LoadContext {
        LoadContext {
            file,
            places: Places::default(),
            list: None,
            list_not_read: Cell::new(false),
            variables: HashMap::new(),
            findings: RefCell::default(),
            files: RefCell::default(),
            usages: RefCell::default(),
            reported: RefCell::default(),
            contents: RefCell::default(),
        }
    }

    /// Later findings show this in the place of the file.
    pub(super) fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.file);
    }

    /// Gives later findings their lines. `list` is what is still text.
    pub(super) fn set_places(&mut self, places: Places, list: Option<LongList>) {
        self.places = places;
        self.list = list;
    }

    /// Takes the elements of a list of routes, where it is long and was left as text. `None` where
    /// it was not.
    pub(super) fn read_list(&self, key: &str, take: impl FnMut(&Value)) -> Option<()> {
        let list = self.list.as_ref().filter(|list| list.key == key)?;
        let read = self.places.read_list(list, take);
        self.list_not_read.set(read.is_err());
        Some(())
    }

    /// The length of such a list.
    pub(super) fn list_len(&self, key: &str) -> Option<usize> {
        self.list.as_ref().filter(|list| list.key == key).map(|list| list.len)
    }

    /// For the same document once more: files that have been read are not read again.
    pub(super) fn begin_again(self) -> LoadContext {
        let LoadContext { files, contents, usages, .. } = self;
        LoadContext { files, contents, usages, ..LoadContext::named(self.file) }
    }

    /// Whether such a list could not be read: all that was gathered is void, and the document has to
    /// be read as a whole.
    pub(super) fn list_was_not_read(&self) -> bool {
        self.list_not_read.get()
    }

    /// Makes later findings at or below `key_path` name the variable.
    pub(super) fn set_variable(&mut self, key_path: &str, name: &str) {
        self.variables.insert(key_path.to_owned(), name.to_owned());
    }

    /// Adds a finding about a key.
    pub(super) fn report(
        &self,
        severity: Severity,
        key_path: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let (file, line) = match self.variable(key_path) {
            Some(name) => (format!("environment variable {name}"), None),
            None => (self.file.clone(), self.places.line(key_path)),
        };
        self.push(Diagnostic {
            severity,
            file,
            line,
            key_path: key_path.to_owned(),
            message: message.into(),
            hint,
        });
    }

    /// Notes a report about a file that many keys may name; whether it is the first.
    pub(super) fn is_first_report_of(&self, path: &Path) -> bool {
        self.reported.borrow_mut().insert(path.to_owned())
    }

    /// The configuration file, if it could be read.
    pub(super) fn document(&self) -> Option<&Path> {
        Some(Path::new(&self.file)).filter(|path| self.contents.borrow().contains_key(*path))
    }

    /// Whether a key's value is in the file, and not from a variable.
    pub(super) fn is_in_document(&self, key_path: &str) -> bool {
        self.variable(key_path).is_none()
    }

    /// The number of findings so far.
    pub(super) fn findings(&self) -> usize {
        self.findings.borrow().len()
    }

    /// Adds an error at a line of the file.
    pub(super) fn report_line(&self, line: u32, message: &str) {
        let message = message.to_owned();
        self.report_fault(YamlFault { line, key_path: String::new(), message, hint: None });
    }

    /// Adds what makes the file unreadable.
    pub(super) fn report_fault(&self, fault: YamlFault) {
        let YamlFault { line, key_path, message, hint } = fault;
        let (severity, file, line) = (Severity::Error, self.file.clone(), Some(line));
        self.push(Diagnostic { severity, file, line, key_path, message, hint });
    }

    /// Adds an error about an environment variable that stands for no key.
    pub(super) fn report_variable(&self, name: &str, message: &str, hint: String) {
        self.push(Diagnostic {
            severity: Severity::Error,
            file: format!("environment variable {name}"),
            line: None,
            key_path: String::new(),
            message: message.to_owned(),
            hint: Some(hint),
        });
    }

    fn push(&self, finding: Diagnostic) {
        self.findings.borrow_mut().push(finding);
    }

    fn variable(&self, key_path: &str) -> Option<&str> {
        let mut path = key_path;
        loop {
            if let Some(name) = self.variables.get(path) {
                return Some(name);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }

    /// The line of a key in the file.
    pub(super) fn line(&self, key_path: &str) -> Option<u32> {
        self.places.line(key_path)
    }

    /// The line of a key in the file, for messages that refer to another key.
    pub(super) fn place(&self, key_path: &str) -> String {
        match (self.variable(key_path), self.places.line(key_path)) {
            (None, Some(line)) => format!("{key_path} (line {line})"),
            _ => key_path.to_owned(),
        }
    }

    /// Notes what a file is for. A file that is not noted, or is for two things, is
    /// [`FileUsage::Other`].
    pub(super) fn note_usage(&self, path: &Path, usage: FileUsage) {
        let mut usages = self.usages.borrow_mut();
        match usages.get_mut(path) {
            Some(known) if *known != usage => *known = FileUsage::Other,
            Some(_) => {}
            None => {
                usages.insert(path.to_owned(), usage);
            }
        }
    }

    /// Reads a regular file, and adds it to the files to watch even if that fails.
    pub(super) fn read(&self, path: &Path) -> io::Result<Rc<[u8]>> {
        if let Some(Some(known)) = self.contents.borrow().get(path) {
            return Ok(Rc::clone(known));
        }
        let outcome = read_limited(path).map(Rc::<[u8]>::from);
        self.add(path, outcome.as_deref().ok(), outcome.as_ref().ok().cloned());
        outcome
    }

    /// Reads the document likewise, but keeps no second copy of it, which may be large.
    pub(super) fn read_document(&self, path: &Path) -> io::Result<Vec<u8>> {
        let outcome = read_limited(path);
        self.add(path, outcome.as_deref().ok(), None);
        outcome
    }

    /// Adds a file to those that are watched, once, and what is kept of it.
    fn add(&self, path: &Path, content: Option<&[u8]>, kept: Option<Rc<[u8]>>) {
        let before = self.contents.borrow_mut().insert(path.to_owned(), kept);
        if before.is_none() {
            let (path, digest) = (path.to_owned(), content.map(sha256));
            self.files.borrow_mut().push(ReadFile { path, digest, usage: FileUsage::Other });
        }
    }

    /// Adds a file that was read elsewhere, with its digest.
    pub(super) fn note(&self, path: PathBuf, content: &[u8], digest: [u8; 32]) {
        let mut contents = self.contents.borrow_mut();
        if let Entry::Vacant(vacant) = contents.entry(path) {
            let path = vacant.key().clone();
            let (digest, usage) = (Some(digest), FileUsage::Other);
            self.files.borrow_mut().push(ReadFile { path, digest, usage });
            vacant.insert(Some(content.into()));
        }
    }

    /// Everything collected, in the order of the file.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<ReadFile>) {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|finding| (finding.line.is_none(), finding.line));
        // Two checks that read the same key find the same mistake; it is reported once.
        let mut reported = HashSet::new();
        findings.retain(|finding| reported.insert(finding.clone()));
        let (mut files, usages) = (self.files.into_inner(), self.usages.into_inner());
        for file in &mut files {
            file.usage = usages.get(&file.path).copied().unwrap_or(FileUsage::Other);
        }
        (findings, files)
    }
}

/// The content of a regular file of at most [`MAX_FILE_BYTES`].
pub(super) fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    regular_file::read(path, MAX_FILE_BYTES)
}

/// The digest of such a file.
pub(super) fn digest_limited(path: &Path) -> io::Result<[u8; 32]> {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    regular_file::read_parts(path, MAX_FILE_BYTES, |part| digest.update(part))?;
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    Ok(bytes)
}

/// The system's error message, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
