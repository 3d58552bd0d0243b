//! setkey(8)'s commands: the grammar of `setkey -f` and `setkey -c`, of ipsec-tools and of FreeBSD.
//!
//! One module for each subject: `sa` reads what SAs are given by hand, `selector` which packets a policy is about,
//! `policy` what is done to them, `names` and `algorithms` know the words, `print` writes commands again, `secrets` keeps keys
//! out of what is said about a text.

mod algorithms;
mod dialect;
mod names;
mod policy;
mod print;
mod sa;
mod secrets;
mod selector;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use coati_sadb::{Action, Direction, Level, Policy, Request, Rule, SaId};

use crate::diagnostic::{Diagnostic, Origin, Severity, Source, Span};
use crate::lexer::{Cursor, Kind, tokens};
use secrets::{SIGNS, Secrets};

pub use dialect::Dialect;
pub use names::{Names, upper_name, upper_name_freebsd};
pub use print::{command, priority_words, rule_text, upper_spec};

/// One order for the data plane, and where it is written; its text has no keys. A command that names a host of several
/// addresses is several.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The order.
    pub request: Request,
    /// All of the command, without the semicolon.
    pub origin: Origin,
}

impl Statement {
    /// Whether hardware is to do it.
    pub fn is_offloaded(&self) -> bool {
        matches!(&self.request, Request::Add(sa) | Request::Update(sa) if sa.offload.is_some())
    }
}

/// How a text is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Whose setkey it is written for.
    pub dialect: Dialect,
    /// Where names are looked up.
    pub names: Names,
}

/// What a text says.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// In their order.
    pub statements: Vec<Statement>,
    /// What is wrong with it, without its keys; nothing may be carried out when one of them is an error.
    pub remarks: Vec<Diagnostic>,
    /// `help` is among the commands.
    pub asks_for_help: bool,
    /// `exit` is among them: whatever is behind it is not done.
    pub ends: bool,
    /// Something is added that is there already from the same text: that command will fail, and the others not.
    pub adds_twice: bool,
}

impl Script {
    /// The first error.
    pub fn error(&self) -> Option<&Diagnostic> {
        self.remarks.iter().find(|remark| remark.severity == Severity::Error)
    }
}

/// The commands.
pub const COMMANDS: [&str; 18] = [
    "add",
    "update",
    "delete",
    "deleteall",
    "get",
    "getspi",
    "flush",
    "dump",
    "spdadd",
    "spdupdate",
    "spddelete",
    "spdflush",
    "spddump",
    "exit",
    "quit",
    "bye",
    "help",
    "?",
];

/// What `help` shows.
pub const HELP: &str = "\
Each command ends with `;`.
  add | update   [-46n] SRC DST PROTO SPI [-m MODE] [-r BYTES] [-u REQID] [-f FLAG] [-esn] [-lh SEC] [-ls SEC]
                 [-bh BYTES] [-bs BYTES] [-hwif INTERFACE] -E ALG KEY [-A ALG KEY] | -A ALG KEY | -C deflate [-R];
  get | delete   [-46n] SRC DST PROTO SPI;
  getspi         [-46n] SRC DST PROTO SPI [-m MODE] [-u REQID];      SPI 0: any that is free
  deleteall      [-46n] SRC DST PROTO;
  flush | dump   [PROTO];
  spdadd | spdupdate [-46n] SRC[/LEN][[PORT]] DST[/LEN][[PORT]] UPPER [TYPE,CODE | KEY]
                 -P in|out|fwd [prio [low|def|high] [+|-] N] discard | none | ipsec RULE ...;
  spddelete      [-46n] SRC DST UPPER -P in|out|fwd;
  spdflush; spddump;
  exit; quit; bye; help;
PROTO is esp, esp-udp, ah or ipcomp; RULE is PROTO/transport|tunnel/[SRC-DST]/default|use|require|unique[:N].
Examples:
  spdadd 192.0.2.1 198.51.100.1 gre -P out ipsec esp/transport//unique;
  add 192.0.2.1 198.51.100.1 esp 0x1000 -E aes-cbc 0x000102030405060708090a0b0c0d0e0f -A hmac-sha1 \"twenty bytes of text\";
";

/// Reads all statements, or says what is wrong with the first that cannot be read.
pub fn parse(source: &Arc<Source>) -> Result<Vec<Statement>, Diagnostic> {
    let script = read(source, &Reading::default());
    match script.error() {
        Some(error) => Err(error.clone()),
        None => Ok(script.statements),
    }
}

/// Reads a text to its end, whatever is wrong with it.
pub fn read(source: &Arc<Source>, reading: &Reading) -> Script {
    let secrets = Secrets::of(source);
    let cursor = match Cursor::new(source, SIGNS) {
        Ok(cursor) => cursor,
        Err(error) => return Script { remarks: vec![secrets.hide_in(error)], ..Script::default() },
    };
    let mut parser = Parser { cursor, reading };
    let mut script = Script::default();
    let (mut exit, mut is_cut) = (Span::default(), false);
    while parser.cursor.peek().is_some() {
        if parser.cursor.accept(';') {
            continue;
        }
        let span = parser.cursor.span();
        let read = parser.statement().and_then(|order| {
            let span = span.to(parser.cursor.previous());
            parser.cursor.expect(';')?;
            Ok((order, span))
        });
        match read {
            Ok(_) if script.ends => {
                if !std::mem::replace(&mut is_cut, true) {
                    parser.cursor.remarks.warn(exit, "nothing behind this command is done", "leave it out");
                }
            }
            Ok((Order::Ask(requests), span)) => {
                let origin = Origin { source: secrets.source.clone(), span };
                let statement = |request| Statement { request, origin: origin.clone() };
                script.statements.extend(requests.into_iter().map(statement));
            }
            Ok((Order::Help, _)) => script.asks_for_help = true,
            Ok((Order::Exit, span)) => {
                script.ends = true;
                exit = span;
            }
            Err(error) => {
                parser.cursor.remarks.list.push(error);
                parser.recover();
            }
        }
    }
    script.remarks = parser.cursor.remarks.list.into_iter().map(|it| secrets.hide_in(it)).collect();
    let twice = added_twice(&script.statements);
    script.adds_twice = !twice.is_empty();
    script.remarks.extend(twice);
    script
}

/// SAs and policies that are there already from the same text. What is done goes on behind them, in each setkey.
fn added_twice(statements: &[Statement]) -> Vec<Diagnostic> {
    // By what tells them apart, however many there are.
    let name = |id: &SaId| (id.destination, id.proto, id.spi);
    let mut there: HashMap<_, (IpAddr, &Origin)> = HashMap::new();
    let mut policies: HashMap<_, &Origin> = HashMap::new();
    let mut remarks = Vec::new();
    for Statement { request, origin } in statements {
        match request {
            Request::Add(sa) => match there.entry(name(&sa.id)) {
                Entry::Occupied(first) => {
                    let message = format!(
                        "the SA of line {} has this destination, protocol and SPI",
                        first.get().1.place().line
                    );
                    let remark = origin.remark(Severity::Warning, message);
                    remarks.push(remark.help("only the first is added: give this one another SPI"));
                }
                Entry::Vacant(place) => drop(place.insert((sa.id.source, origin))),
            },
            Request::Delete(id) => drop(there.remove(&name(id))),
            Request::DeleteAll { source, destination, proto } => {
                there.retain(|name, (from, _)| (*from, name.0, name.1) != (*source, *destination, *proto))
            }
            Request::Flush(proto) => there.retain(|name, _| proto.is_some_and(|proto| proto != name.1)),
            Request::SpdAdd(policy) => match policies.entry((policy.direction, policy.selector)) {
                Entry::Occupied(first) => {
                    let line = first.get().place().line;
                    let message =
                        format!("the policy of line {line} is for these packets and this direction");
                    let remark = origin.remark(Severity::Warning, message);
                    remarks.push(remark.help("only the first is added: leave one out, or write spdupdate"));
                }
                Entry::Vacant(place) => drop(place.insert(origin)),
            },
            Request::SpdUpdate(policy) => {
                policies.entry((policy.direction, policy.selector)).or_insert(origin);
            }
            Request::SpdDelete(selector, direction) => drop(policies.remove(&(*direction, **selector))),
            Request::SpdFlush => policies.clear(),
            _ => {}
        }
    }
    remarks
}

/// Whether a text ends where a command does: with a semicolon, or before it has begun.
pub fn is_complete(text: &str) -> bool {
    let source = Source::new("", text);
    tokens(&source, SIGNS)
        .is_ok_and(|tokens| tokens.last().is_none_or(|last| last.kind == Kind::Punctuation(';')))
}

/// What Linux needs for a policy about packets that come in: a second one about those that are forwarded, in which no SA is
/// anybody's own. RFC 4301 knows no such difference, so setkey hands in both (`setkey -r`).
pub fn forwarding(request: &Request) -> Option<Request> {
    let forwarded = |policy: &Policy| {
        let mut policy = policy.clone();
        policy.direction = Direction::Fwd;
        if let Action::Ipsec(rules) = &mut policy.action {
            let shared = |rule: &mut Rule| match rule.level {
                Level::Unique(_) => rule.level = Level::Require,
                Level::Default | Level::Use | Level::Require => {}
            };
            rules.iter_mut().for_each(shared);
        }
        Box::new(policy)
    };
    match request {
        Request::SpdAdd(policy) if policy.direction == Direction::In => {
            Some(Request::SpdAdd(forwarded(policy)))
        }
        Request::SpdUpdate(policy) if policy.direction == Direction::In => {
            Some(Request::SpdUpdate(forwarded(policy)))
        }
        Request::SpdDelete(selector, Direction::In) => {
            Some(Request::SpdDelete(selector.clone(), Direction::Fwd))
        }
        _ => None,
    }
}

/// What a command is for.
enum Order {
    Ask(Vec<Request>),
    Help,
    Exit,
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    reading: &'a Reading,
}

impl Parser<'_> {
    fn statement(&mut self) -> Result<Order, Diagnostic> {
        let (word, span) = self.cursor.word("a command")?;
        Ok(Order::Ask(match word {
            "add" => self.sas(|sa| Request::Add(Box::new(sa)))?,
            "update" => self.sas(|sa| Request::Update(Box::new(sa)))?,
            "delete" => self.sa_ids(Request::Delete)?,
            "get" => self.sa_ids(Request::Get)?,
            "getspi" => self.get_spi()?,
            "deleteall" => self.delete_all()?,
            "flush" => vec![Request::Flush(self.optional_proto()?)],
            "dump" => vec![Request::Dump(self.optional_proto()?)],
            "spdadd" => vec![Request::SpdAdd(Box::new(self.policy()?))],
            "spdupdate" => vec![Request::SpdUpdate(Box::new(self.policy()?))],
            "spddelete" => vec![self.policy_to_delete()?],
            "spdflush" => vec![Request::SpdFlush],
            "spddump" => vec![Request::SpdDump],
            "exit" | "quit" | "bye" => return Ok(Order::Exit),
            "help" | "?" => return Ok(Order::Help),
            _ => return Err(self.cursor.remarks.unknown(span, "command", word, &COMMANDS)),
        }))
    }

    /// Goes on behind the next semicolon, or at a command that begins a line.
    fn recover(&mut self) {
        while let Some(kind) = self.cursor.peek() {
            let (before, next) = (self.cursor.previous(), self.cursor.span());
            let between = self.cursor.remarks.source.text.get(before.end..next.start).unwrap_or("");
            match kind {
                Kind::Punctuation(';') => {
                    self.cursor.next();
                    return;
                }
                Kind::Word(word) if COMMANDS.contains(&word) && between.contains('\n') => return,
                _ => {}
            }
            self.cursor.next();
        }
    }

    /// Whether the command goes on with an option, such as `-P`.
    fn at_option(&self) -> bool {
        matches!(self.cursor.peek(), Some(Kind::Word(word)) if word.starts_with('-'))
    }

    /// Decimal, or hexadecimal with 0x.
    fn number<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T, Diagnostic> {
        let (word, span) = self.cursor.word(what)?;
        let (digits, radix) = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None => (word, 10),
        };
        // A sign would be taken too.
        let number = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let bits = 8 * size_of::<T>();
            self.cursor.remarks.error(span, format!("`{word}` is not {what}: {bits} bits, decimal or 0x"))
        })
    }
}
