//! What a load gathers while it goes: findings with their places, and the files it read.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use serde_yaml::Value;

use super::{
    diagnostic::{Diagnostic, Severity},
    model::ReadFile,
    pieces::LongList,
    places::Places,
    reload,
};

/// A configuration of 100,000 routes with files of their own takes about 40 MiB; `/dev/zero` passes
/// any limit.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// Gathers findings and files. Checks only see it shared, so it is open to change inside.
pub(super) struct Context {
    file: String,
    places: Places,
    list: Option<LongList>,
    list_not_read: Cell<bool>,
    /// Key paths whose value is from an environment variable, with its name.
    variables: HashMap<String, String>,
    findings: RefCell<Vec<Diagnostic>>,
    files: RefCell<Vec<ReadFile>>,
    /// So that one load sees one version of a file, however many keys name it. `None` for what could
    /// not be read.
    contents: RefCell<HashMap<PathBuf, Option<Rc<[u8]>>>>,
}

impl Context {
    /// Nothing gathered yet; `file` is shown in findings.
    pub(super) fn new(file: &Path) -> Context {
        Context {
            file: file.display().to_string(),
            places: Places::default(),
            list: None,
            list_not_read: Cell::new(false),
            variables: HashMap::new(),
            findings: RefCell::default(),
            files: RefCell::default(),
            contents: RefCell::default(),
        }
    }

    /// From here on findings have lines. `list` is what is still text.
    pub(super) fn set_places(&mut self, places: Places, list: Option<LongList>) {
        self.places = places;
        self.list = list;
    }

    /// Takes the elements of a list of routes, where it is long and was left as text. `None` where
    /// it was not.
    pub(super) fn read_list(&self, key: &str, take: impl FnMut(Value)) -> Option<()> {
        let list = self.list.as_ref().filter(|list| list.key == key)?;
        let read = self.places.read_list(list, take);
        self.list_not_read.set(read.is_err());
        Some(())
    }

    /// Whether such a list could not be read: all that was gathered is void, and the document has to
    /// be read as a whole.
    pub(super) fn list_was_not_read(&self) -> bool {
        self.list_not_read.get()
    }

    /// From here on findings at or below `key_path` name the variable.
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

    /// Adds an error at a line of the file.
    pub(super) fn report_line(&self, line: Option<u32>, key_path: &str, message: String) {
        self.push(Diagnostic {
            severity: Severity::Error,
            file: self.file.clone(),
            line,
            key_path: key_path.to_owned(),
            message,
            hint: None,
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

    /// The line of a key in the file, for messages that refer to another key.
    pub(super) fn place(&self, key_path: &str) -> String {
        match (self.variable(key_path), self.places.line(key_path)) {
            (None, Some(line)) => format!("{key_path} (line {line})"),
            _ => key_path.to_owned(),
        }
    }

    /// Reads a file, and notes it among the files to watch whether or not that succeeds.
    pub(super) fn read(&self, path: &Path) -> io::Result<Rc<[u8]>> {
        if let Some(Some(known)) = self.contents.borrow().get(path) {
            return Ok(Rc::clone(known));
        }
        let outcome = read_limited(path).map(Rc::<[u8]>::from);
        let content = outcome.as_ref().ok();
        let digest = content.map(|content| reload::digest(content));
        let before = self.contents.borrow_mut().insert(path.to_owned(), content.cloned());
        if before.is_none() {
            self.files.borrow_mut().push(ReadFile { path: path.to_owned(), digest });
        }
        outcome
    }

    /// All that was gathered, in the order of the file.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<ReadFile>) {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|finding| (finding.line.is_none(), finding.line));
        // Two checks that read the same key find the same mistake; it is told once.
        let mut told = HashSet::new();
        findings.retain(|finding| told.insert(finding.clone()));
        (findings, self.files.into_inner())
    }
}

/// The content of a file; an error beyond [`MAX_FILE_BYTES`].
pub(super) fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        let message = format!("is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// What the system said, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
