//! setkey(8) on whichever data plane the daemon uses: its arguments, its output, its exit codes.
//!
//! [`options`] is the command line, [`session`] carries commands out, [`interactive`] is a terminal, [`complaint`] says what is
//! wrong, [`dump`] shows SAs and policies, [`mod@monitor`] messages, [`saved`] those of files.

mod complaint;
mod dump;
mod interactive;
mod monitor;
mod names;
mod options;
mod saved;
mod session;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use coati_router::admin::{AdminReply, AdminRequest};
use coati_sadb::Request;

use crate::files;
use dump::Form;
use monitor::Watched;
use options::{Action, Options, USAGE};
use session::Session;

pub use dump::sas_text;

/// How often `-l` looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs setkey with `args`, the program's name not among them.
pub fn run(args: &[String]) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("setkey: {message} (setkey -h shows what there is)");
            return ExitCode::FAILURE;
        }
    };
    match act(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("setkey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(options: &Options) -> io::Result<bool> {
    let mut session = Session::new(options);
    match &options.action {
        Action::Commands if io::stdin().is_terminal() => interactive::run(&mut session),
        Action::Commands => execute(&mut session, "-"),
        Action::File(file) => execute(&mut session, file),
        Action::Dump if options.forever => watch(&mut session, options),
        Action::Dump if options.policies => session.ask(Request::SpdDump),
        Action::Dump => session.ask(Request::Dump(None)),
        Action::Flush if options.policies => session.ask(Request::SpdFlush),
        Action::Flush => session.ask(Request::Flush(None)),
        Action::Monitor => monitor(&mut session, options),
        Action::Saved(files) => saved::show(options, files),
        Action::Version => {
            println!("setkey of Coati {}", env!("CARGO_PKG_VERSION"));
            Ok(true)
        }
        Action::Help => {
            println!("{USAGE}");
            Ok(true)
        }
        Action::None => {
            eprintln!("{USAGE}");
            Ok(false)
        }
    }
}

fn execute(session: &mut Session<'_>, file: &str) -> io::Result<bool> {
    let name = if file == "-" { "stdin" } else { file };
    let bytes = match file {
        "-" => files::to_end(io::stdin()),
        // Pipes too.
        file => File::open(file).and_then(files::to_end),
    };
    let bytes = bytes.map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
    Ok(session.run(&files::decode(name, bytes)?)?.all)
}

/// A line for each SA, again and again.
fn watch(session: &mut Session<'_>, options: &Options) -> io::Result<bool> {
    println!("{}", Form::SHORT_HEADER);
    loop {
        let text = Form::of(options).short(&session.sas()?);
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        std::thread::sleep(INTERVAL);
    }
}

fn monitor(session: &mut Session<'_>, options: &Options) -> io::Result<bool> {
    let mut watched = Watched::new(session.sas()?);
    let client = session.connect()?;
    let mut reply = client.call(&AdminRequest::Monitor)?;
    loop {
        if let AdminReply::Monitor(line) = &reply {
            let mut out = io::stdout().lock();
            if options.json {
                writeln!(out, "{}", serde_json::to_string(line)?)?;
            } else {
                let time = if options.epoch { crate::clock::since_1970() } else { crate::clock::of_day() };
                let text = watched.line(line, options.hexdump, crate::clock::unix_seconds());
                write!(out, "{time} \n{text}")?;
            }
            out.flush()?;
        }
        reply = client.next()?;
    }
}
