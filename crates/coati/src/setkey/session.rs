//! Commands carried out: a text at a time, as one for whoever sends packets.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use coati_config::Source;
use coati_config::setkey::{HELP, Reading, Statement, forwarding, read};
use coati_router::admin::{AdminReply, AdminRequest};
use coati_sadb::{Direction, Refusal, Reply, Request, SaState, Secret, Selector};

use super::complaint::{advice, refusal_text, remarks_text};
use super::dump::Form;
use super::monitor::{reply_text, request_text};
use super::names;
use super::options::{Options, Scope};
use crate::check;
use crate::client::Client;
use crate::files;
use crate::pfkey::without_keys;

/// One run of setkey, with the daemon on the other side when it is needed.
pub struct Session<'a> {
    options: &'a Options,
    reading: Reading,
    client: Option<Client>,
}

/// How a text went.
pub struct Done {
    /// All of it is done.
    pub all: bool,
    /// It said `exit`.
    pub ends: bool,
}

/// A request that is sent.
struct Order {
    statement: Statement,
    /// It was made beside one that is written: about packets that are forwarded.
    is_companion: bool,
}

impl<'a> Session<'a> {
    /// Nothing is connected yet.
    pub fn new(options: &'a Options) -> Self {
        Self { options, reading: Reading { dialect: options.dialect, names: names::system() }, client: None }
    }

    /// Finds the daemon.
    pub fn connect(&mut self) -> io::Result<&mut Client> {
        if self.client.is_none() {
            self.client = Some(Client::connect(self.options.socket.as_deref().map(Path::new))?);
        }
        self.client.as_mut().ok_or_else(another_kind)
    }

    /// Finds the daemon before anything is typed, when it will be needed.
    pub fn prepare(&mut self) -> io::Result<()> {
        if !self.options.check_only {
            self.connect()?;
        }
        Ok(())
    }

    /// Reads the whole text first, so that a mistake in line 9 leaves nothing half done. Then all of it happens at one
    /// moment: between `spdflush` and `spdadd` no packet finds no policy.
    pub fn run(&mut self, source: &Arc<Source>) -> io::Result<Done> {
        let mut script = read(source, &self.reading);
        if self.options.check_only && script.error().is_none() {
            script.remarks.extend(match self.options.dataplane {
                Some(home) => files::home_remarks(&script.statements, home),
                None => files::homes_remarks(&script.statements),
            });
        }
        let is_wrong = script.error().is_some();
        if self.options.json && self.options.check_only {
            println!("{}", serde_json::Value::Array(script.remarks.iter().map(check::json).collect()));
        } else {
            let colour = io::stderr().is_terminal();
            eprint!("{}", remarks_text(&script.remarks, self.options.dialect, colour));
        }
        if is_wrong {
            if !self.options.check_only {
                eprintln!("setkey: nothing was changed");
            }
            return Ok(Done { all: false, ends: false });
        }
        if script.asks_for_help {
            print!("{HELP}");
        }
        // Nobody is asked for nothing.
        let all = match self.options.check_only || script.statements.is_empty() {
            true => !script.adds_twice,
            false => self.carry_out(script.statements)?,
        };
        Ok(Done { all, ends: script.ends })
    }

    /// A refusal keeps the rest from nothing, except where something can never be done: then nothing is.
    fn carry_out(&mut self, statements: Vec<Statement>) -> io::Result<bool> {
        let mut orders = self.orders(statements);
        let mut replies = self.send(&orders)?;
        // Without `fwd` policies in the data plane, those for `in` are for what is forwarded too.
        let refused = |reply: &Reply| matches!(reply, Reply::Refused { .. });
        let is_beside = |(order, reply): (&Order, &Reply)| {
            order.is_companion && matches!(reply, Reply::Refused { refusal: Refusal::Unsupported(_) })
        };
        if replies.iter().all(refused) && orders.iter().zip(&replies).any(is_beside) {
            orders.retain(|order| !order.is_companion);
            replies = self.send(&orders)?;
        }
        let (mut all_done, mut withheld) = (true, false);
        for (Order { statement, is_companion }, reply) in orders.iter().zip(replies) {
            self.tell(&statement.request, &reply);
            let Err(refusal) = self.show(reply)? else { continue };
            match refusal {
                Refusal::Withheld => withheld = true,
                // The policy beside which it is has said so.
                Refusal::Exists | Refusal::NoPolicy | Refusal::Unsupported(_) if *is_companion => continue,
                refusal => {
                    let colour = io::stderr().is_terminal();
                    eprint!("{}", refusal_text(statement, &refusal, self.options.dialect, colour));
                }
            }
            all_done = false;
        }
        if withheld {
            eprintln!("setkey: nothing was changed");
        }
        Ok(all_done)
    }

    fn orders(&self, statements: Vec<Statement>) -> Vec<Order> {
        let twice = self.options.dialect.has_fwd() && !self.options.kernel_semantics;
        // What is written about packets that are forwarded counts.
        let written: Vec<Selector> = statements.iter().filter_map(|it| forwarded(&it.request)).collect();
        let is_written = |request: &Request| forwarded(request).is_some_and(|it| written.contains(&it));
        let mut orders = Vec::new();
        for statement in statements {
            let companion = forwarding(&statement.request).filter(|it| twice && !is_written(it));
            let origin = statement.origin.clone();
            orders.push(Order { statement, is_companion: false });
            orders.extend(
                companion
                    .map(|request| Order { statement: Statement { request, origin }, is_companion: true }),
            );
        }
        orders
    }

    fn send(&mut self, orders: &[Order]) -> io::Result<Vec<Reply>> {
        let requests = orders.iter().map(|order| order.statement.request.clone()).collect();
        match self.connect()?.call(&AdminRequest::SadbFile(requests))? {
            AdminReply::SadbFile(replies) if replies.len() == orders.len() => Ok(replies),
            _ => Err(another_kind()),
        }
    }

    /// One request that was asked for by an option.
    pub fn ask(&mut self, request: Request) -> io::Result<bool> {
        let AdminReply::Sadb(reply) = self.connect()?.call(&AdminRequest::Sadb(request.clone()))? else {
            return Err(another_kind());
        };
        self.tell(&request, &reply);
        let done = self.show(reply)?;
        if let Err(refusal) = &done {
            let advice = advice(refusal).map_or(String::new(), |advice| format!(" ({advice})"));
            eprintln!("setkey: {refusal}{advice}");
        }
        Ok(done.is_ok())
    }

    /// `-v`: what was sent, and what came back.
    fn tell(&self, request: &Request, reply: &Reply) {
        if !self.options.verbose {
            return;
        }
        let (mut request, mut reply) = (request.clone(), reply.clone());
        if self.options.mask_keys {
            request = without_keys(request);
            if let Reply::Sas { sas } = &mut reply {
                for sa in sas {
                    (sa.enc_key, sa.auth_key) = (Secret::default(), Secret::default());
                }
            }
        }
        print!("{}{}", request_text(&request), reply_text(&request, &reply));
    }

    /// All SAs.
    pub fn sas(&mut self) -> io::Result<Vec<coati_sadb::Sa>> {
        match self.connect()?.call(&AdminRequest::Sadb(Request::Dump(None)))? {
            AdminReply::Sadb(Reply::Sas { sas }) => Ok(self.wanted(sas)),
            _ => Err(another_kind()),
        }
    }

    fn wanted(&self, mut sas: Vec<coati_sadb::Sa>) -> Vec<coati_sadb::Sa> {
        sas.retain(|sa| self.options.all || sa.state != SaState::Dead);
        sas
    }

    fn show(&self, reply: Reply) -> io::Result<Result<(), Refusal>> {
        let reply = match reply {
            Reply::Refused { refusal } => return Ok(Err(refusal)),
            Reply::Sas { sas } => Reply::Sas { sas: self.wanted(sas) },
            // Nothing here is bound to an interface.
            Reply::Policies { .. } if self.options.scope == Some(Scope::Interface) => {
                Reply::Policies { policies: Vec::new() }
            }
            other => other,
        };
        let form = Form::of(self.options);
        if self.options.json {
            println!("{}", form.json(&reply)?);
            return Ok(Ok(()));
        }
        match reply {
            Reply::Sas { sas } if self.options.commands => print!("{}", form.sa_commands(&sas)),
            Reply::Sas { sas } => print!("{}", form.sas(&sas)),
            Reply::Policies { policies } if self.options.commands => {
                print!("{}", form.policy_commands(&policies));
            }
            Reply::Policies { policies } => print!("{}", form.policies(&policies)),
            Reply::Done | Reply::Spi { .. } | Reply::Refused { .. } => {}
        }
        Ok(Ok(()))
    }
}

/// What a policy for packets that are forwarded is about.
fn forwarded(request: &Request) -> Option<Selector> {
    match request {
        Request::SpdAdd(policy) | Request::SpdUpdate(policy) if policy.direction == Direction::Fwd => {
            Some(policy.selector)
        }
        _ => None,
    }
}

fn another_kind() -> io::Error {
    io::Error::other("the daemon gave an answer of another kind")
}
