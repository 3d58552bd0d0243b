//! All interfaces by index, and what is due on each when. With hundreds of them a call looks only at those that it is
//! about: at the ones it may have changed, and at the ones whose time has come.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Instant;

use crate::interface::Interface;

/// The interfaces.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    all: BTreeMap<u32, Interface>,
    /// Those that may have changed since [`Self::settle`].
    touched: BTreeSet<u32>,
    /// When something is due on the others.
    due: BTreeSet<(Instant, u32)>,
    /// The same by index.
    times: BTreeMap<u32, Instant>,
    /// Those on which this router listens to AllDRouters too.
    designated: BTreeSet<u32>,
}

impl Deref for Interfaces {
    type Target = BTreeMap<u32, Interface>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Interfaces {
    pub(crate) fn get_mut(&mut self, index: &u32) -> Option<&mut Interface> {
        let found = self.all.get_mut(index)?;
        self.touched.insert(*index);
        Some(found)
    }

    pub(crate) fn insert(&mut self, index: u32, interface: Interface) {
        self.touched.insert(index);
        self.all.insert(index, interface);
    }

    pub(crate) fn remove(&mut self, index: &u32) -> Option<Interface> {
        self.touched.insert(*index);
        self.all.remove(index)
    }

    /// Those that may have changed in this call, or have still to be elected on.
    pub(crate) fn touched(&self) -> impl Iterator<Item = &Interface> {
        self.touched.iter().filter_map(|index| self.all.get(index))
    }

    /// The earliest time at which something is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let queued = self.due.iter().find(|(_, index)| !self.touched.contains(index));
        let touched = self.touched().filter_map(Interface::next_timeout);
        touched.chain(queued.map(|(at, _)| *at)).min()
    }

    /// Those on which something is due, in their order.
    pub(crate) fn due(&self, now: Instant) -> BTreeSet<u32> {
        let queued = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, index)| *index);
        let queued = queued.filter(|index| !self.touched.contains(index));
        let is_due = |interface: &&Interface| interface.next_timeout().is_some_and(|at| at <= now);
        queued.chain(self.touched().filter(is_due).map(|interface| interface.link.index)).collect()
    }

    /// Those on which this router listens to AllDRouters too, since the last call.
    pub(crate) fn designated(&self) -> &BTreeSet<u32> {
        &self.designated
    }

    /// The end of a call.
    pub(crate) fn settle(&mut self) {
        for index in std::mem::take(&mut self.touched) {
            let interface = self.all.get(&index);
            let (before, at) = (self.times.get(&index).copied(), interface.and_then(Interface::next_timeout));
            if before != at {
                self.due.extend(at.map(|at| (at, index)));
                match at {
                    Some(at) => drop(self.times.insert(index, at)),
                    None => drop(self.times.remove(&index)),
                }
                if let Some(before) = before {
                    self.due.remove(&(before, index));
                }
            }
            match interface.is_some_and(Interface::listens_as_designated) {
                true => drop(self.designated.insert(index)),
                false => drop(self.designated.remove(&index)),
            }
            // The next call begins with it.
            if interface.is_some_and(|interface| interface.elect) {
                self.touched.insert(index);
            }
        }
    }
}
