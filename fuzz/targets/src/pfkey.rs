//! PF_KEY: messages in the layout of each kernel, and a home that hears and is answered whatever they are.

use std::io;

use coati_pfkey::{Layout, Sockets};
use coati_sadb::{Home, Policy, Request};
use coati_wire::pfkey::{Header, Message};
use zeroize::Zeroizing;

use crate::seed::SEED;

/// Says what it was given, once for each thing that is asked and once unasked.
struct Parrot {
    says: Vec<u8>,
    answers: usize,
    unasked: bool,
    asked: Vec<u8>,
}

impl Sockets for Parrot {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.answers = 1;
        self.asked = message.to_vec();
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Zeroizing<Vec<u8>>> {
        self.answers = self.answers.checked_sub(1).ok_or(io::ErrorKind::TimedOut)?;
        // It is to be taken for an answer: kind, number and process are those of what was asked.
        let mut says = self.says.clone();
        for place in [1..2, 8..16] {
            if let (Some(to), Some(from)) = (says.get_mut(place.clone()), self.asked.get(place)) {
                to.copy_from_slice(from);
            }
        }
        Ok(Zeroizing::new(says))
    }

    fn register(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(std::mem::take(&mut self.unasked).then(|| Zeroizing::new(self.says.clone())))
    }

    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// What a kernel says over PF_KEY.
pub fn pfkey(data: &[u8]) {
    for layout in Layout::ALL {
        if let Ok((message, rest)) = Message::parse(layout, data) {
            let again = message.emit(layout);
            assert_eq!(again.len() % 8, 0);
            assert_eq!(Message::parse(layout, &again), Ok((message, &[][..])));
            assert!(rest.len() < data.len());
        }
        let says = data.to_vec();
        let kernel = Parrot { says, answers: 0, unasked: true, asked: Vec::new() };
        let Ok((mut home, _)) = coati_pfkey::home(kernel, layout, Vec::new()) else { continue };
        let policies: Vec<&Policy> = SEED.policies().map(|(policy, _)| policy).collect();
        let put = policies.iter().map(|policy| Request::SpdUpdate(Box::new((*policy).clone())));
        let asked: Vec<Request> = [Request::Dump(None), Request::SpdFlush].into_iter().chain(put).collect();
        let count = asked.len();
        assert_eq!(home.requests(1_700_000_000, asked).len(), count);
        // One message says one thing, and a dump may tell again what was missed.
        let heard = std::iter::from_fn(|| home.poll_notification()).count();
        assert!(heard <= Header::parse(data).map_or(0, |_| data.len()));
        for policy in policies {
            home.is_open(&policy.selector);
        }
    }
}
