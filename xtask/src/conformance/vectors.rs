//! llhttp's test vectors, as its repository writes them.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use super::TestBench;
use crate::command::{command, run};

/// The package whose source has the vectors.
const PACKAGE: &str = "aiohttp";
const VERSION: &str = "3.14.5";

/// One message, or several, and what a strict parser says of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vector {
    /// The file, and the headings above the vector.
    pub(super) title: String,
    pub(super) bytes: Vec<u8>,
    pub(super) expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// At least one whole message.
    Complete,
    /// An error before the first message is whole.
    Error,
    /// Neither: the message goes on.
    Unfinished,
}

/// The vectors of one kind, `request` or `response`. Those for a parser with lenient settings, or one
/// that pauses, are left out.
pub(super) fn read(bench: &TestBench, kind: &str) -> Result<Vec<Vector>> {
    let directory = sources(bench)?.join(format!("vendor/llhttp/test/{kind}"));
    let files = fs::read_dir(&directory)
        .with_context(|| format!("no vectors in {}", directory.display()))?;
    let mut paths: Vec<_> = files.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    paths.sort();
    let mut vectors = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        vectors.extend(parse(&format!("{kind}/{name}"), kind, &fs::read_to_string(&path)?));
    }
    ensure!(vectors.len() > 50, "only {} vectors in {}", vectors.len(), directory.display());
    Ok(vectors)
}

/// The unpacked source package, which is downloaded once.
fn sources(bench: &TestBench) -> Result<PathBuf> {
    let unpacked = bench.directory.join(format!("{PACKAGE}-{VERSION}"));
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    println!("Downloading {PACKAGE} {VERSION} with pip");
    let mut pip = command("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]);
    pip.arg(format!("{PACKAGE}=={VERSION}")).arg("--dest").arg(&bench.directory);
    run(&mut pip)?;
    let archive = bench.directory.join(format!("{PACKAGE}-{VERSION}.tar.gz"));
    run(command("tar").arg("-xzf").arg(&archive).arg("-C").arg(&bench.directory))?;
    Ok(unpacked)
}

fn parse(file: &str, kind: &str, text: &str) -> Vec<Vector> {
    let mut vectors = Vec::new();
    let (mut heading, mut is_strict, mut message) = (Vec::new(), false, None);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((marks, title)) = line.split_once("# ") {
            heading.resize(marks.len(), "");
            heading.push(title.trim());
        } else if let Some(meta) = line.strip_prefix("<!-- meta=") {
            is_strict = meta.contains(&format!("\"{kind}\""))
                && !meta.contains("\"pause\"")
                && !meta.contains("\"skipBody\"");
        } else if line.starts_with("```http") {
            message = Some(block(&mut lines));
        } else if line.starts_with("```log") {
            let log = block(&mut lines);
            if let Some(message) = message.take().filter(|_| is_strict) {
                let heading: Vec<_> =
                    heading.iter().copied().filter(|part| !part.is_empty()).collect();
                let title = format!("{file}: {}", heading.join(" / "));
                vectors.push(Vector { title, bytes: decode(&message), expected: expected(&log) });
            }
        }
    }
    vectors
}

/// The lines up to the end of a block of code.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("```")).collect();
    lines.join("\n")
}

/// The bytes of a vector: each end of a line is CRLF unless a backslash stands before it, and a few
/// escapes are known.
fn decode(text: &str) -> Vec<u8> {
    let joined = text.replace("\\\n", "").replace('\n', "\r\n");
    let mut bytes = Vec::new();
    let mut rest = joined.as_str();
    while let Some((before, escaped)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (byte, length) = escape(escaped);
        bytes.extend(byte);
        rest = escaped.get(length..).unwrap_or_default();
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// The byte of an escape, and the length of the escape behind its backslash.
fn escape(text: &str) -> (Vec<u8>, usize) {
    let digits = |text: &str, radix: u32, most: usize| {
        let length = text.bytes().take(most).take_while(|b| char::from(*b).is_digit(radix)).count();
        (u32::from_str_radix(text.get(..length).unwrap_or_default(), radix).ok(), length)
    };
    match text.as_bytes().first() {
        Some(b'r') => (vec![b'\r'], 1),
        Some(b'n') => (vec![b'\n'], 1),
        Some(b't') => (vec![b'\t'], 1),
        Some(b'f') => (vec![0x0c], 1),
        Some(b'x') => match digits(text.get(1..).unwrap_or_default(), 16, 2) {
            (Some(byte), length) => (vec![byte as u8], 1 + length),
            (None, _) => (vec![b'\\'], 0),
        },
        _ => match digits(text, 8, 3) {
            (Some(byte), length) => (vec![byte as u8], length),
            (None, _) => (vec![b'\\'], 0),
        },
    }
}

fn expected(log: &str) -> Expected {
    for line in log.lines() {
        if line.contains("message complete") {
            return Expected::Complete;
        }
        // An upgrade is reported as a pause.
        if line.contains("error code=") && !line.contains("CONNECT/Upgrade") {
            return Expected::Error;
        }
    }
    Expected::Unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "Requests\n========\n\n## Bodies\n\n### One\n\n\
         <!-- meta={\"type\": \"request\", \"noScan\": true} -->\n```http\nPOST / HTTP/1.1\nA: b\\\nc\n\n\\x41\\0\\n\n```\n\n\
         ```log\noff=0 message begin\noff=9 message complete\noff=9 error code=2\n```\n\n\
         ### Two\n\n<!-- meta={\"type\": \"request-lenient-headers\"} -->\n```http\nGET\n```\n```log\n```\n\
         ### Three\n\n<!-- meta={\"type\": \"request\"} -->\n```http\nGET\n```\n```log\noff=3 error code=6\n```\n";

    #[test]
    fn vectors_are_read_with_their_escapes_and_outcomes() {
        let vectors = parse("request/x", "request", FILE);
        assert_eq!(vectors.len(), 2, "{vectors:?}");
        assert_eq!(vectors[0].title, "request/x: Bodies / One");
        assert_eq!(vectors[0].bytes, b"POST / HTTP/1.1\r\nA: bc\r\n\r\nA\0\n");
        assert_eq!(vectors[0].expected, Expected::Complete);
        assert_eq!((vectors[1].expected, &*vectors[1].bytes), (Expected::Error, &b"GET"[..]));
    }
}
