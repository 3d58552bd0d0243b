//! Filters: which networks of a source pass, and with which metrics.
//!
//! A condition becomes the set of networks for which it holds; a filter is walked through with the set of networks that
//! get to each of its statements. What cannot be said in such sets is an error, with its place.

use coati_sadb::Prefix;

use super::lexer::{Kind, Token};
use super::reader::Piece;
use super::write::matches;
use crate::diagnostic::Span;
use std::net::{IpAddr, Ipv4Addr};

/// Blocks and brackets in one another.
const DEEPEST: usize = 32;
/// Rules of one set.
const MOST_RULES: usize = 1000;
/// Ways through a filter at once.
const MOST_WAYS: usize = 64;
/// Statements and conditions that are looked at, in all.
const MOST_STEPS: usize = 20_000;

/// Networks inside of a prefix with a length from the first to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) address: u32,
    pub(super) length: u8,
    pub(super) lengths: (u8, u8),
}

impl Range {
    const ALL: Self = Self { address: 0, length: 0, lengths: (0, 32) };

    fn of(prefix: &Prefix, lengths: (u8, u8)) -> Self {
        let address = match prefix.address {
            IpAddr::V4(address) => u32::from(address),
            IpAddr::V6(_) => 0,
        };
        Self { address, length: prefix.length, lengths: (lengths.0.max(prefix.length), lengths.1) }
    }

    fn covers(&self, address: u32, length: u8) -> bool {
        length >= self.length && masked(address, self.length) == masked(self.address, self.length)
    }

    fn common(&self, other: &Self) -> Option<Self> {
        let (wide, narrow) = if self.length <= other.length { (self, other) } else { (other, self) };
        let lengths = (self.lengths.0.max(other.lengths.0), self.lengths.1.min(other.lengths.1));
        let lengths = (lengths.0.max(narrow.length), lengths.1);
        (wide.covers(narrow.address, narrow.length) && lengths.0 <= lengths.1)
            .then_some(Self { lengths, ..*narrow })
    }

    /// The prefix as it is written.
    pub(super) fn prefix(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.address), self.length)
    }
}

fn masked(address: u32, length: u8) -> u32 {
    address & u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0)
}

/// A set of networks: the first rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Networks {
    pub(super) rules: Vec<(Range, bool)>,
    /// Without one that matches.
    pub(super) others: bool,
}

impl Networks {
    pub(super) fn all(others: bool) -> Self {
        Self { rules: Vec::new(), others }
    }

    /// These alone.
    pub(super) fn only<'p>(prefixes: impl Iterator<Item = &'p Prefix>) -> Self {
        let rules = prefixes.map(|prefix| (Range::of(prefix, (prefix.length, prefix.length)), true));
        Self { rules: rules.collect(), others: false }
    }

    pub(super) fn contains(&self, prefix: &Prefix) -> bool {
        let Range { address, length, .. } = Range::of(prefix, (0, 32));
        let fits = |range: &Range| {
            range.covers(address, length) && (range.lengths.0..=range.lengths.1).contains(&length)
        };
        self.rules.iter().find(|(range, _)| fits(range)).map_or(self.others, |(_, is_in)| *is_in)
    }

    pub(super) fn is_all(&self) -> bool {
        self.others && self.rules.iter().all(|(_, is_in)| *is_in)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.others && self.rules.iter().all(|(_, is_in)| !*is_in)
    }

    fn inverted(mut self) -> Self {
        self.rules.iter_mut().for_each(|(_, is_in)| *is_in = !*is_in);
        self.others = !self.others;
        self
    }

    /// What `join` makes of both; `None` when it has too many rules.
    fn joined(&self, other: &Self, join: impl Fn(bool, bool) -> bool) -> Option<Self> {
        let with_others = |networks: &Self| {
            let mut rules = networks.rules.clone();
            rules.push((Range::ALL, networks.others));
            rules
        };
        let mut rules: Vec<(Range, bool)> = Vec::new();
        let theirs = with_others(other);
        for (range, is_in) in with_others(self) {
            for (their_range, is_in_theirs) in &theirs {
                if let Some(common) = range.common(their_range) {
                    rules.push((common, join(is_in, *is_in_theirs)));
                }
            }
            if rules.len() > MOST_RULES {
                return None;
            }
        }
        let others = rules.pop().is_some_and(|(_, is_in)| is_in);
        while rules.last().is_some_and(|(_, is_in)| *is_in == others) {
            rules.pop();
        }
        Some(Self { rules, others })
    }

    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        self.joined(other, |a, b| a && b)
    }
}

/// What a filter sets for what passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Metrics {
    /// `ospf_metric1`.
    pub(super) metric1: Option<u32>,
    /// `ospf_metric2`.
    pub(super) metric2: Option<u32>,
    /// `ospf_tag`.
    pub(super) tag: u32,
}

/// Which route is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'r> {
    /// `RTS_STATIC` and the like.
    pub(super) source: &'r str,
    /// The protocol that it is of.
    pub(super) protocol: &'r str,
    /// Its interface.
    pub(super) interface: Option<&'r str>,
}

/// What passes, and what else the filter does.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// Sets that have nothing in common.
    pub(super) sets: Vec<(Networks, Metrics)>,
    /// Attributes that mean nothing to OSPF.
    pub(super) others: Vec<Span>,
    /// Whether the interface was asked for.
    pub(super) by_interface: bool,
}

/// Why a filter cannot be said.
pub(super) type Unsaid = (Span, String);

/// The condition of `where`.
pub(super) fn condition(tokens: &[Token<'_>], piece: Piece, route: &Route<'_>) -> Result<Passed, Unsaid> {
    let mut walk = Walk::new(tokens, piece, route);
    let networks = walk.any(0)?;
    if walk.peek().is_some() {
        return Err(walk.unsaid());
    }
    walk.passed.sets.push((networks, Metrics::default()));
    Ok(walk.passed)
}

/// The statements of a filter.
pub(super) fn statements(tokens: &[Token<'_>], piece: Piece, route: &Route<'_>) -> Result<Passed, Unsaid> {
    let mut walk = Walk::new(tokens, piece, route);
    let mut ways = vec![(Networks::all(true), Metrics::default())];
    while walk.peek().is_some() {
        ways = walk.statement(ways, 0)?;
    }
    // What comes to the end is rejected.
    Ok(walk.passed)
}

type Ways = Vec<(Networks, Metrics)>;

struct Walk<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    route: &'t Route<'t>,
    passed: Passed,
    steps: usize,
    end: Span,
}

impl<'t, 'a> Walk<'t, 'a> {
    fn new(tokens: &'t [Token<'a>], piece: Piece, route: &'t Route<'t>) -> Self {
        let end = tokens.get(piece.end.saturating_sub(1)).map_or(Span::default(), |token| token.span);
        let tokens = tokens.get(piece.start..piece.end).unwrap_or(&[]);
        Self { tokens, at: 0, route, passed: Passed::default(), steps: 0, end }
    }

    fn peek(&self) -> Option<Kind<'a>> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    fn next(&mut self) -> Option<Kind<'a>> {
        let kind = self.peek();
        self.at += usize::from(kind.is_some());
        kind
    }

    fn accept(&mut self, kind: Kind<'_>) -> bool {
        let found = self.peek() == Some(kind);
        self.at += usize::from(found);
        found
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(self.end, |token| token.span)
    }

    fn unsaid(&self) -> Unsaid {
        let found = self.peek().map_or("the end of the filter".to_owned(), Kind::describe);
        (self.span(), format!("{found} of this filter cannot be said in ospfd.conf"))
    }

    fn step(&mut self, depth: usize) -> Result<(), Unsaid> {
        self.steps += 1;
        if depth > DEEPEST || self.steps > MOST_STEPS {
            return Err((self.span(), "this filter is too long or too deep to be carried over".to_owned()));
        }
        Ok(())
    }

    fn too_many(&self) -> Unsaid {
        (self.span(), "this filter has too many cases to be carried over".to_owned())
    }

    fn expect(&mut self, kind: Kind<'_>) -> Result<(), Unsaid> {
        if self.accept(kind) { Ok(()) } else { Err(self.unsaid()) }
    }

    fn joined(
        &self,
        a: &Networks,
        b: &Networks,
        join: impl Fn(bool, bool) -> bool,
    ) -> Result<Networks, Unsaid> {
        a.joined(b, join).ok_or_else(|| self.too_many())
    }

    /// Goes through one statement by all ways; those that go on behind it come back.
    fn statement(&mut self, mut ways: Ways, depth: usize) -> Result<Ways, Unsaid> {
        self.step(depth)?;
        match self.peek() {
            Some(Kind::Sign(';')) => self.at += 1,
            Some(Kind::Sign('{')) => {
                self.at += 1;
                while !self.accept(Kind::Sign('}')) {
                    ways = self.statement(ways, depth + 1)?;
                }
            }
            Some(Kind::Word(word @ ("accept" | "reject"))) => {
                self.at += 1;
                // A text to be logged may follow.
                while !matches!(self.peek(), Some(Kind::Sign(';' | '}')) | None) {
                    self.at += 1;
                }
                self.accept(Kind::Sign(';'));
                if word == "accept" {
                    self.passed.sets.append(&mut ways);
                }
                if self.passed.sets.len() > MOST_WAYS {
                    return Err(self.too_many());
                }
                return Ok(Vec::new());
            }
            Some(Kind::Word("if")) => {
                self.at += 1;
                let condition = self.any(depth + 1)?;
                self.expect(Kind::Word("then"))?;
                let (mut yes, mut no) = (Vec::new(), Vec::new());
                for (networks, metrics) in ways {
                    yes.push((self.joined(&networks, &condition, |a, b| a && b)?, metrics));
                    no.push((self.joined(&networks, &condition, |a, b| a && !b)?, metrics));
                }
                let some = |ways: &mut Ways| ways.retain(|(networks, _)| !networks.is_empty());
                some(&mut yes);
                some(&mut no);
                yes = self.statement(yes, depth + 1)?;
                if self.accept(Kind::Word("else")) {
                    no = self.statement(no, depth + 1)?;
                }
                ways = yes;
                ways.append(&mut no);
                if ways.len() > MOST_WAYS {
                    return Err(self.too_many());
                }
            }
            Some(Kind::Word("print" | "printn")) => {
                while !matches!(self.next(), Some(Kind::Sign(';')) | None) {}
            }
            Some(Kind::Word(name))
                if self.tokens.get(self.at + 1).map(|t| t.kind) == Some(Kind::Sign('=')) =>
            {
                self.assignment(name, &mut ways)?;
            }
            _ => return Err(self.unsaid()),
        }
        Ok(ways)
    }

    fn assignment(&mut self, name: &str, ways: &mut Ways) -> Result<(), Unsaid> {
        let span = self.span();
        self.at += 2;
        if !matches!(name, "ospf_metric1" | "ospf_metric2" | "ospf_tag") {
            if !["krt_", "bgp_", "rip_", "babel_", "preference"].iter().any(|known| name.starts_with(known)) {
                self.at -= 2;
                return Err(self.unsaid());
            }
            if !ways.is_empty() {
                self.passed.others.push(span);
            }
            while !matches!(self.next(), Some(Kind::Sign(';')) | None) {}
            return Ok(());
        }
        let most = if name == "ospf_tag" { u32::MAX } else { 0x00ff_fffe };
        let Some(Kind::Number(number)) =
            self.peek().filter(|kind| matches!(kind, Kind::Number(n) if *n <= most))
        else {
            return Err(self.unsaid());
        };
        self.at += 1;
        self.expect(Kind::Sign(';'))?;
        for (_, metrics) in ways {
            match name {
                "ospf_metric1" => metrics.metric1 = Some(number),
                "ospf_metric2" => metrics.metric2 = Some(number),
                _ => metrics.tag = number,
            }
        }
        Ok(())
    }

    /// `… || …`.
    fn any(&mut self, depth: usize) -> Result<Networks, Unsaid> {
        self.operands("||", |walk| walk.every(depth), Networks::is_all, |a, b| a || b)
    }

    /// `… && …`.
    fn every(&mut self, depth: usize) -> Result<Networks, Unsaid> {
        self.operands("&&", |walk| walk.one(depth), Networks::is_empty, |a, b| a && b)
    }

    /// What is on the sides of an operator. Where one side decides alone, nobody needs the interface that another asks
    /// for.
    fn operands(
        &mut self,
        operator: &str,
        mut side: impl FnMut(&mut Self) -> Result<Networks, Unsaid>,
        decides: impl Fn(&Networks) -> bool,
        join: impl Fn(bool, bool) -> bool,
    ) -> Result<Networks, Unsaid> {
        let before = self.passed.by_interface;
        let (mut asked, mut decided) = (false, false);
        let mut all: Option<Networks> = None;
        loop {
            self.passed.by_interface = false;
            let one = side(self)?;
            decided |= decides(&one) && !self.passed.by_interface;
            asked |= self.passed.by_interface;
            let both = match &all {
                Some(left) => self.joined(left, &one, &join)?,
                None => one,
            };
            if !self.accept(Kind::Operator(operator)) {
                self.passed.by_interface = before || asked && !decided;
                return Ok(both);
            }
            all = Some(both);
        }
    }

    fn one(&mut self, depth: usize) -> Result<Networks, Unsaid> {
        self.step(depth)?;
        if self.accept(Kind::Sign('!')) {
            return Ok(self.one(depth + 1)?.inverted());
        }
        if self.accept(Kind::Sign('(')) {
            let inner = self.any(depth + 1)?;
            self.expect(Kind::Sign(')'))?;
            return Ok(inner);
        }
        let Some(Kind::Word(word)) = self.peek() else { return Err(self.unsaid()) };
        let start = self.at;
        self.at += 1;
        match word {
            "true" => return Ok(Networks::all(true)),
            "false" => return Ok(Networks::all(false)),
            "net" if self.accept(Kind::Sign('.')) => return self.length(),
            "net" => {
                let Some(operator) = self.comparison() else { return Err(self.unsaid()) };
                let found = self.networks(operator.1)?;
                return Ok(if operator.0 { found } else { found.inverted() });
            }
            "source" | "proto" | "ifname" => {}
            _ => {
                self.at = start;
                return Err(self.unsaid());
            }
        }
        let Some((positive, pattern)) = self.comparison() else { return Err(self.unsaid()) };
        let holds = match word {
            "source" => self.sources(pattern)?,
            "proto" => matches(self.string()?, self.route.protocol, pattern),
            _ => {
                self.passed.by_interface = true;
                let wanted = self.string()?;
                self.route.interface.is_some_and(|name| matches(wanted, name, pattern))
            }
        };
        Ok(Networks::all(holds == positive))
    }

    /// `=`, `!=`, `~`, `!~`: whether it is positive, and whether it is a pattern.
    fn comparison(&mut self) -> Option<(bool, bool)> {
        let found = match self.peek()? {
            Kind::Sign('=') => (true, false),
            Kind::Operator("!=") => (false, false),
            Kind::Sign('~') => (true, true),
            Kind::Operator("!~") => (false, true),
            _ => return None,
        };
        self.at += 1;
        Some(found)
    }

    fn string(&mut self) -> Result<&'a str, Unsaid> {
        let Some(Kind::Text(text)) = self.peek() else { return Err(self.unsaid()) };
        self.at += 1;
        Ok(text)
    }

    /// `RTS_STATIC`, or `[ RTS_STATIC, RTS_DEVICE ]`.
    fn sources(&mut self, set: bool) -> Result<bool, Unsaid> {
        if set {
            self.expect(Kind::Sign('['))?;
        }
        let mut found = false;
        loop {
            let Some(Kind::Word(name)) =
                self.peek().filter(|kind| matches!(kind, Kind::Word(w) if w.starts_with("RTS_")))
            else {
                return Err(self.unsaid());
            };
            self.at += 1;
            found |= name == self.route.source;
            if !set || self.accept(Kind::Sign(']')) {
                return Ok(found);
            }
            self.expect(Kind::Sign(','))?;
        }
    }

    /// `len` behind `net.`, and what it is compared with.
    fn length(&mut self) -> Result<Networks, Unsaid> {
        self.expect(Kind::Word("len"))?;
        let Some(operator) = self.next() else { return Err(self.unsaid()) };
        let Some(Kind::Number(number)) = self.peek() else { return Err(self.unsaid()) };
        let length = u8::try_from(number.min(33)).unwrap_or(33);
        let (lengths, positive) = match operator {
            Kind::Sign('=') => ((length, length), true),
            Kind::Operator("!=") => ((length, length), false),
            Kind::Sign('<') => ((length, 32), false),
            Kind::Operator("<=") => ((0, length), true),
            Kind::Sign('>') => ((0, length), false),
            Kind::Operator(">=") => ((length, 32), true),
            _ => {
                self.at -= 1;
                return Err(self.unsaid());
            }
        };
        self.at += 1;
        let lengths = (lengths.0, lengths.1.min(32));
        let rules =
            if lengths.0 <= lengths.1 { vec![(Range { lengths, ..Range::ALL }, true)] } else { Vec::new() };
        let found = Networks { rules, others: false };
        Ok(if positive { found } else { found.inverted() })
    }

    /// A set of prefixes, or a single one: with `=` itself, with `~` all inside of it.
    fn networks(&mut self, pattern: bool) -> Result<Networks, Unsaid> {
        if !pattern || self.peek() != Some(Kind::Sign('[')) {
            let prefix = self.prefix()?;
            let longest = if pattern { 32 } else { prefix.length };
            let range = Range::of(&prefix, (prefix.length, longest));
            return Ok(Networks { rules: vec![(range, true)], others: false });
        }
        self.at += 1;
        let mut rules = Vec::new();
        loop {
            self.step(0)?;
            let prefix = self.prefix()?;
            let own = prefix.length;
            let (shortest, longest) = match self.peek() {
                Some(Kind::Sign('+')) => (own, 32),
                Some(Kind::Sign('-')) => (0, own),
                Some(Kind::Sign('{')) => {
                    let parts = self.tokens.get(self.at + 1..self.at + 5).unwrap_or(&[]);
                    let [
                        Kind::Number(from @ 0..=32),
                        Kind::Sign(','),
                        Kind::Number(to @ 0..=32),
                        Kind::Sign('}'),
                    ] = parts.iter().map(|token| token.kind).collect::<Vec<_>>()[..]
                    else {
                        return Err(self.unsaid());
                    };
                    self.at += 4;
                    (u8::try_from(from).unwrap_or(0), u8::try_from(to).unwrap_or(32))
                }
                _ => {
                    self.at -= 1;
                    (own, own)
                }
            };
            self.at += 1;
            // Wider networks that this one is in.
            for length in (shortest..=longest).take_while(|length| *length < own) {
                let address = masked(Range::of(&prefix, (0, 32)).address, length);
                rules.push((Range { address, length, lengths: (length, length) }, true));
            }
            if longest >= own {
                rules.push((Range::of(&prefix, (shortest, longest)), true));
            }
            if rules.len() > MOST_RULES {
                return Err(self.too_many());
            }
            if self.accept(Kind::Sign(']')) {
                return Ok(Networks { rules, others: false });
            }
            self.expect(Kind::Sign(','))?;
        }
    }

    fn prefix(&mut self) -> Result<Prefix, Unsaid> {
        let parts = self.tokens.get(self.at..self.at + 3).unwrap_or(&[]);
        let [Kind::Address(address), Kind::Sign('/'), Kind::Number(length)] =
            parts.iter().map(|token| token.kind).collect::<Vec<_>>()[..]
        else {
            return Err(self.unsaid());
        };
        let length = u8::try_from(length).unwrap_or(u8::MAX);
        let prefix = Prefix::new(IpAddr::V4(address), length).map_err(|_| self.unsaid())?;
        self.at += 3;
        Ok(prefix.network())
    }
}
