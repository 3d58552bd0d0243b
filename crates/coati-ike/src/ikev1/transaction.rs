//! The transaction exchange (draft-ietf-ipsec-isakmp-mode-cfg section 3): XAUTH and mode config between phase 1 and
//! phase 2.
//!
//! ```text
//!   client                                        server
//!                 ◀── REQUEST(name, password)     Asked
//!   Answered      REPLY(name, password)   ──▶     Checking
//!                 ◀── SET(status)                 Passed
//!   Passed        ACK                     ──▶
//!   asking        REQUEST(address, …)     ──▶
//!                 ◀── REPLY(address, …)
//! ```
//!
//! Until the login has passed, nothing else is taken: no quick mode, no address. A verdict counts only when we have
//! given name and password. Quick mode waits for the settings too, since the policies depend on the address.

use std::time::{Duration, Instant};

use coati_crypto::Zeroizing;
use coati_sadb::Secret;
use coati_wire::isakmp::{Attribute, AttributeValue, Configuration, Header, flag, kind};

use super::phase1::Phase1;
use super::{message, mode_config, negotiation, xauth};
use crate::config::AuthMethod;
use crate::core::{Core, Timer};
use crate::event::Event;
use crate::failure::{Cause, Failure, Stage};
use crate::remote_access::{LoginRequest, Logins, ModeConfig, Settings};
use crate::retransmission::{Due, Retransmission};

/// Exchanges that are remembered for repetitions.
const MAX_REMEMBERED: usize = 8;
/// A login has to be through after this time.
const LOGIN_LIFE: Duration = Duration::from_secs(60);

/// One exchange.
#[derive(Debug)]
pub(crate) struct Transaction {
    message_id: u32,
    iv: Vec<u8>,
    /// Digest of the message that [`Self::last_sent`] answers.
    last_received: Vec<u8>,
    last_sent: Option<Retransmission>,
    /// Whether we began it. What answers is known by its message id: some clients number their answers anew (strongSwan
    /// 5.9 puts 0).
    ours: bool,
}

/// Where a road warrior is between phase 1 and phase 2.
#[derive(Debug, Default)]
pub(crate) struct Access {
    pub(crate) login: Login,
    /// Settings were asked for and are not there yet.
    pub(crate) asking: bool,
    /// What was given to us.
    pub(crate) settings: Option<Box<Settings>>,
    /// Who has logged in, or tries to.
    pub(crate) user: Option<String>,
    pub(crate) transactions: Vec<Transaction>,
}

/// Where the login is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Login {
    /// None is needed, or it is through.
    #[default]
    Passed,
    /// Server: name and password are asked for.
    Asked,
    /// Server: they are being checked.
    Checking,
    /// Server: they are wrong, which is told in a while.
    Refusing,
    /// Client: the server has still to ask.
    Expected,
    /// Client: it has got its answer.
    Answered,
}

/// What an exchange has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Continues,
    /// Phase 2 may begin.
    Ready,
    /// The login has failed: the ISAKMP SA is to end.
    Refused,
}

impl AuthMethod {
    /// Whether we have to log in.
    pub(crate) fn is_client(self) -> bool {
        matches!(self, Self::XauthPskClient | Self::XauthRsaClient | Self::HybridRsaClient)
    }

    /// Whether the peer has to.
    pub(crate) fn is_server(self) -> bool {
        matches!(self, Self::XauthPskServer | Self::XauthRsaServer | Self::HybridRsaServer)
    }
}

impl Phase1 {
    /// Whether phase 2 may begin under it.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_established() && self.access.login == Login::Passed && !self.access.asking
    }
}

/// Phase 1 is done: begins what has to come before phase 2.
pub(crate) fn begin(core: &mut Core, now: Instant, sa: &mut Phase1) -> Outcome {
    let method = sa.method();
    if method.is_client() || method.is_server() {
        core.set_timer(now + LOGIN_LIFE, Timer::Login(sa.id));
    }
    if method.is_server() {
        sa.access.login = Login::Asked;
        ask(core, now, sa, Configuration::REQUEST, xauth::question());
        return Outcome::Continues;
    }
    if method.is_client() {
        sa.access.login = Login::Expected;
        return Outcome::Continues;
    }
    go_on(core, now, sa)
}

/// The login is through: settings come next, where the configuration wants some.
fn go_on(core: &mut Core, now: Instant, sa: &mut Phase1) -> Outcome {
    let wants = core.peer(sa.peer).is_some_and(|peer| peer.mode_cfg) && !sa.method().is_server();
    if wants {
        sa.access.asking = true;
        ask(core, now, sa, Configuration::REQUEST, mode_config::questions());
        return Outcome::Continues;
    }
    Outcome::Ready
}

/// Begins an exchange.
fn ask(core: &mut Core, now: Instant, sa: &mut Phase1, kind: u8, attributes: Vec<Attribute>) {
    let Some(keys) = &sa.keys else { return };
    let message_id = core.random.number().max(1);
    let [_, _, high, low] = core.random.number().to_be_bytes();
    let identifier = u16::from_be_bytes([high, low]);
    let iv = keys.phase2_iv(message_id);
    let exchange = Transaction { message_id, iv, last_received: Vec::new(), last_sent: None, ours: true };
    say(core, now, sa, exchange, &Configuration { kind, identifier, attributes });
}

/// Sends a message of an exchange and keeps it.
fn say(core: &mut Core, now: Instant, sa: &mut Phase1, mut exchange: Transaction, payload: &Configuration) {
    let Some(keys) = sa.keys.as_ref() else { return };
    let message_id = exchange.message_id;
    let mut payloads = [(kind::ATTRIBUTES, payload.emit())];
    let chain = message::with_hash(keys, message_id, &[], &payloads);
    let [(_, emitted)] = &mut payloads;
    wipe_bytes(emitted);
    let number = coati_wire::isakmp::exchange::TRANSACTION;
    let bytes = message::sealed(sa, keys, &mut exchange.iv, number, message_id, chain);
    core.send(sa.local, sa.remote, bytes.clone());
    let insists = matches!(payload.kind, Configuration::REQUEST | Configuration::SET);
    let patience = &core.config.patience;
    let last = Retransmission::new(now, vec![bytes], insists.then_some((patience, now + patience.phase1)));
    if let Some(due) = last.due() {
        core.set_timer(due, Timer::Transaction(sa.id, message_id));
    }
    exchange.last_sent = Some(last);
    if sa.access.transactions.len() >= MAX_REMEMBERED {
        sa.access.transactions.remove(0);
    }
    sa.access.transactions.push(exchange);
}

/// A message of the peer.
pub(crate) fn handle_message(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    header: &Header,
    body: &[u8],
    digest: &[u8],
) -> Outcome {
    let message_id = header.message_id;
    let known = sa.access.transactions.iter().position(|exchange| exchange.message_id == message_id);
    if let Some(exchange) = known.and_then(|index| sa.access.transactions.get_mut(index))
        && exchange.last_received == digest
    {
        if let Some(last) = exchange.last_sent.as_mut().filter(|last| last.due().is_none())
            && last.may_answer(now)
        {
            for datagram in &last.datagrams {
                core.send(sa.local, sa.remote, datagram.clone());
            }
        }
        return Outcome::Continues;
    }
    let Some(keys) = sa.keys.as_ref().filter(|_| sa.is_established() && header.flags & flag::ENCRYPTED != 0)
    else {
        core.drop_datagram("transaction before an ISAKMP SA");
        return Outcome::Continues;
    };
    let exchange = known.and_then(|index| sa.access.transactions.get(index));
    let iv = exchange.map_or_else(|| keys.phase2_iv(message_id), |exchange| exchange.iv.clone());
    let opened = keys.decrypt(&iv, body).map(|(plain, next_iv)| (Zeroizing::new(plain), next_iv));
    let read = opened.as_ref().and_then(|(plain, _)| {
        let list = message::check_hash(keys, message_id, &[], header.next_payload, plain)?;
        Configuration::parse(message::find(&list, kind::ATTRIBUTES)?).ok()
    });
    let (Some(mut payload), Some((_, next_iv))) = (read, opened) else {
        core.drop_datagram("transaction with a wrong hash");
        return Outcome::Continues;
    };
    if known.is_none() && !sa.remember(message_id) {
        core.drop_datagram("transaction that was there before");
        return Outcome::Continues;
    }
    negotiation::heard(core, now, sa);
    let mut exchange = match known {
        Some(index) => sa.access.transactions.remove(index),
        None => Transaction {
            message_id,
            iv: Vec::new(),
            last_received: Vec::new(),
            last_sent: None,
            ours: false,
        },
    };
    exchange.iv = next_iv;
    exchange.last_received = digest.to_vec();
    let outcome = take(core, now, sa, exchange, &payload);
    wipe(&mut payload);
    outcome
}

/// What may be a password does not stay in memory.
fn wipe(payload: &mut Configuration) {
    for attribute in &mut payload.attributes {
        if let AttributeValue::Long(bytes) = &mut attribute.value {
            wipe_bytes(bytes);
        }
    }
}

fn wipe_bytes(bytes: &mut Vec<u8>) {
    drop(Zeroizing::new(std::mem::take(bytes)));
}

/// Acts upon a message.
fn take(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    mut exchange: Transaction,
    payload: &Configuration,
) -> Outcome {
    let about_login = xauth::is_about(payload);
    let reply = |kind, attributes| Configuration { kind, identifier: payload.identifier, attributes };
    match (payload.kind, about_login) {
        (Configuration::REQUEST, true) => answer_login(core, now, sa, exchange, payload),
        (Configuration::REQUEST, false) if sa.access.login == Login::Passed => {
            let attributes = give(core, sa, payload);
            say(core, now, sa, exchange, &reply(Configuration::REPLY, attributes));
            Outcome::Continues
        }
        (Configuration::SET, true) => {
            let Some(passed) = xauth::verdict(payload).filter(|_| sa.access.login == Login::Answered) else {
                core.drop_datagram("verdict on a login that was not asked for");
                return Outcome::Continues;
            };
            say(core, now, sa, exchange, &reply(Configuration::ACK, xauth::status(passed)));
            if passed {
                sa.access.login = Login::Passed;
                core.events.push_back(Event::LoggedIn { local: sa.local, remote: sa.remote, user: user(sa) });
                return go_on(core, now, sa);
            }
            core.logins_for.remove(&sa.remote.ip());
            let name = user(sa);
            let text = format!(
                "it refuses the login of \"{name}\": name or password is wrong; compare xauth_login and \
                 the line of {name} in psk.txt with its users"
            );
            fail(core, sa, text);
            Outcome::Refused
        }
        (Configuration::SET, false) if sa.access.login == Login::Passed => {
            let empty = payload.attributes.iter().map(|attribute| Attribute {
                class: attribute.class,
                value: AttributeValue::Long(Vec::new()),
            });
            say(core, now, sa, exchange, &reply(Configuration::ACK, empty.collect()));
            // Some servers set what they are not asked for; nothing here changes once it is in use.
            Outcome::Continues
        }
        (Configuration::REPLY | Configuration::ACK, _) if exchange.ours => {
            if let Some(last) = &mut exchange.last_sent {
                last.stop();
            }
            sa.access.transactions.push(exchange);
            match (payload.kind, about_login, sa.access.login) {
                (Configuration::REPLY, _, Login::Asked) => check_login(core, now, sa, payload),
                (Configuration::REPLY, false, Login::Passed) if sa.access.asking => {
                    sa.access.asking = false;
                    sa.access.settings = Some(Box::new(mode_config::settings(&payload.attributes)));
                    Outcome::Ready
                }
                _ => Outcome::Continues,
            }
        }
        _ => {
            core.drop_datagram("transaction out of turn");
            Outcome::Continues
        }
    }
}

/// Client: the server asks who we are.
fn answer_login(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    exchange: Transaction,
    asked: &Configuration,
) -> Outcome {
    if !matches!(sa.access.login, Login::Expected | Login::Answered) {
        core.drop_datagram("login asked for by a peer that is not let to");
        return Outcome::Continues;
    }
    let origin = core.peer(sa.peer).map(|peer| peer.origin.clone()).unwrap_or_default();
    let typed = core.logins_for.get(&sa.remote.ip()).cloned();
    let written = core.peer(sa.peer).and_then(|peer| peer.xauth_login.clone());
    let Some(name) = typed.as_ref().map(|(name, _): &(String, Secret)| name.clone()).or(written) else {
        let text =
            format!("it asks for a user name; add to the remote section at {origin}: xauth_login \"NAME\";");
        fail(core, sa, text);
        return Outcome::Refused;
    };
    let line = core.config.keys.iter().find(|key| key.identity == name);
    let Some(password) = typed.map(|(_, password)| password).or_else(|| Some(line?.key.clone())) else {
        let text = format!("psk.txt has no line with the password of {name} (xauth_login, {origin})");
        fail(core, sa, text);
        return Outcome::Refused;
    };
    let Some(attributes) = xauth::answer(asked, &name, &password) else {
        fail(core, sa, "it asks for more than name and password (a one-time code or a challenge), which is not supported".into());
        return Outcome::Refused;
    };
    sa.access.user = Some(name);
    sa.access.login = Login::Answered;
    let mut payload = Configuration { kind: Configuration::REPLY, identifier: asked.identifier, attributes };
    say(core, now, sa, exchange, &payload);
    wipe(&mut payload);
    Outcome::Continues
}

/// Server: the client has said who it is.
fn check_login(core: &mut Core, now: Instant, sa: &mut Phase1, payload: &Configuration) -> Outcome {
    let Some((name, password)) = xauth::login(payload) else {
        sa.access.user = None;
        return decide(core, now, sa, false);
    };
    sa.access.user = Some(name.clone());
    sa.access.login = Login::Checking;
    match core.config.mode_config.as_ref().map(|config| &config.logins) {
        Some(Logins::Table(users)) => {
            let passed = users.iter().any(|user| user.name == name && user.password == password);
            decide(core, now, sa, passed)
        }
        Some(Logins::Owner) => {
            core.logins.push_back(LoginRequest { id: sa.id, remote: sa.remote, user: name, password });
            Outcome::Continues
        }
        None => {
            let text = "it logs in, but there is no mode_cfg section that says who may: add one".to_owned();
            fail(core, sa, text);
            decide(core, now, sa, false)
        }
    }
}

/// Server: the verdict on a login.
pub(crate) fn decide(core: &mut Core, now: Instant, sa: &mut Phase1, passed: bool) -> Outcome {
    if !matches!(sa.access.login, Login::Checking | Login::Asked) {
        return Outcome::Continues;
    }
    if !passed {
        sa.access.login = Login::Refusing;
        let pause = core.config.mode_config.as_ref().map_or(Duration::ZERO, |config| config.auth_throttle);
        core.set_timer(now + pause, Timer::Login(sa.id));
        let text = format!("the login of \"{}\" was refused: unknown user or wrong password", user(sa));
        fail(core, sa, text);
        return Outcome::Continues;
    }
    sa.access.login = Login::Passed;
    core.events.push_back(Event::LoggedIn { local: sa.local, remote: sa.remote, user: user(sa) });
    ask(core, now, sa, Configuration::SET, xauth::status(true));
    Outcome::Ready
}

/// A login's time is over, or its refusal is due.
pub(crate) fn login_due(core: &mut Core, now: Instant, sa: &mut Phase1) -> Outcome {
    match sa.access.login {
        Login::Passed => Outcome::Continues,
        Login::Refusing => {
            ask(core, now, sa, Configuration::SET, xauth::status(false));
            Outcome::Refused
        }
        _ if sa.established.is_some_and(|since| now.saturating_duration_since(since) < LOGIN_LIFE) => {
            Outcome::Continues
        }
        Login::Expected | Login::Answered => {
            fail(core, sa, "it neither asks for name and password nor decides about them".into());
            Outcome::Refused
        }
        Login::Asked | Login::Checking => {
            fail(core, sa, "no login came within a minute, or nobody decided about it".into());
            Outcome::Refused
        }
    }
}

/// An exchange of ours was not answered.
pub(crate) fn handle_timeout(core: &mut Core, now: Instant, sa: &mut Phase1, message_id: u32) -> Outcome {
    let mut list = sa.access.transactions.iter_mut();
    let Some(exchange) = list.find(|exchange| exchange.message_id == message_id) else {
        return Outcome::Continues;
    };
    let Some(last) = &mut exchange.last_sent else { return Outcome::Continues };
    match last.check(now) {
        Due::NotYet => Outcome::Continues,
        Due::Again(next) => {
            for datagram in &last.datagrams {
                core.send(sa.local, sa.remote, datagram.clone());
            }
            core.set_timer(next, Timer::Transaction(sa.id, message_id));
            Outcome::Continues
        }
        Due::GiveUp if sa.is_ready() => Outcome::Continues,
        Due::GiveUp => {
            fail(core, sa, "no answer in the configuration exchange".into());
            Outcome::Refused
        }
    }
}

/// Server: what a client asks for.
fn give(core: &mut Core, sa: &Phase1, asked: &Configuration) -> Vec<Attribute> {
    let Some(config) = core.config.mode_config.clone() else { return Vec::new() };
    let address = lease(core, sa, &config);
    if address.is_none() && config.network4.is_some() {
        let text = format!("no address is left for it: all {} of the pool are given out", config.pool_size);
        core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Configuration, text));
    }
    mode_config::answers(&config, address, &asked.attributes)
}

fn lease(core: &mut Core, sa: &Phase1, config: &ModeConfig) -> Option<std::net::Ipv4Addr> {
    let holder = (sa.remote.ip(), sa.access.user.clone());
    let address = core.leases.take(config, sa.id, holder)?;
    core.events.push_back(Event::AddressGiven { remote: sa.remote, user: user(sa), address });
    Some(address)
}

fn fail(core: &mut Core, sa: &Phase1, text: String) {
    core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Login, text));
}

/// For people: it may come from the peer.
fn user(sa: &Phase1) -> String {
    sa.access.user.as_deref().unwrap_or("").chars().take(64).flat_map(char::escape_default).collect()
}
