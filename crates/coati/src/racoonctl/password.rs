//! Asks for a password on the terminal, without showing it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};

use coati_sadb::Secret;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// What is typed after `prompt`; without a terminal, a line of standard input.
pub fn ask(prompt: &str) -> io::Result<Secret> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let line = match terminal {
        Ok(mut terminal) => {
            terminal.write_all(prompt.as_bytes())?;
            let line = without_echo(&terminal)?;
            terminal.write_all(b"\n")?;
            line
        }
        Err(_) => line_of(io::stdin().lock())?,
    };
    Ok(Secret::new(line))
}

fn without_echo(terminal: &File) -> io::Result<Vec<u8>> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(terminal, OptionalActions::Flush, &silent)?;
    let line = line_of(BufReader::new(terminal));
    tcsetattr(terminal, OptionalActions::Flush, &before)?;
    line
}

fn line_of(mut reader: impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no password was given"));
    }
    Ok(line)
}
