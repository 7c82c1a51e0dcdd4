//! Reads the lines of a command while it writes to the terminal.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result};

use crate::command::shown;

enum Line {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// Runs to the end, passes stdout and stderr through, and calls `read` with every line.
pub(super) fn run(command: &mut Command, mut read: impl FnMut(&str)) -> Result<ExitStatus> {
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run {}", shown(command)))?;
    let (sender, lines) = mpsc::channel();
    for_each_line(child.stdout.take(), sender.clone(), Line::Out);
    for_each_line(child.stderr.take(), sender, Line::Err);
    for line in lines {
        let bytes = match &line {
            Line::Out(bytes) | Line::Err(bytes) => bytes,
        };
        read(String::from_utf8_lossy(bytes).trim_end());
        match &line {
            Line::Out(bytes) => std::io::stdout().write_all(bytes)?,
            Line::Err(bytes) => std::io::stderr().write_all(bytes)?,
        }
    }
    Ok(child.wait()?)
}

fn for_each_line(
    pipe: Option<impl Read + Send + 'static>,
    sender: mpsc::Sender<Line>,
    wrap: fn(Vec<u8>) -> Line,
) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = [line, b"\n".to_vec()].concat();
            if sender.send(wrap(line)).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

    #[test]
    fn lines_of_both_streams_are_read_and_the_exit_status_is_kept() {
        let mut lines = Vec::new();
        let mut shell = command("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        let status = run(&mut shell, |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        assert_eq!(lines, ["err", "out"]);
        assert_eq!(status.code(), Some(3));
    }
}
