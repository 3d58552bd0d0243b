//! XFRM netlink: messages, and a home that hears and is answered whatever they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use coati_sadb::{Home, Mode, Policy, Reply, ReqId, Request, SaProto, Spi};
use coati_wire::xfrm::{Body, Message, messages};
use coati_xfrm::Sockets;
use zeroize::Zeroizing;

use crate::seed::SEED;

/// Says what it was given, and that all went well.
struct Parrot {
    says: Vec<u8>,
    unasked: bool,
}

impl Sockets for Parrot {
    fn ask(&mut self, _: &[u8]) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
        Ok(vec![Zeroizing::new(self.says.clone())])
    }

    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let says = std::mem::take(&mut self.unasked).then(|| Zeroizing::new(self.says.clone()));
        Ok(says)
    }

    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn interface(&self, _name: &str) -> Option<u32> {
        Some(1)
    }

    fn interface_name(&self, _number: u32) -> Option<String> {
        None
    }

    fn is_ours(&self, _address: IpAddr) -> bool {
        false
    }
}

/// What the kernel says over XFRM netlink.
pub fn xfrm(data: &[u8]) {
    for message in messages(data).map_while(Result::ok) {
        let again = message.emit();
        assert_eq!(Message::parse(&again), Ok((message, &[][..])));
    }
    let kernel = Parrot { says: data.to_vec(), unasked: true };
    let Ok((mut home, _)) = coati_xfrm::home(kernel, Vec::new()) else { return };
    let (source, destination) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::BROADCAST));
    let get = Request::GetSpi {
        source,
        destination,
        proto: SaProto::Esp,
        mode: Mode::Transport,
        reqid: ReqId(0),
        spi: Spi(0),
    };
    let policies: Vec<&Policy> = SEED.policies().map(|(policy, _)| policy).collect();
    let put = policies.iter().map(|policy| Request::SpdUpdate(Box::new((*policy).clone())));
    let asked: Vec<Request> = [get, Request::Dump(None), Request::SpdFlush].into_iter().chain(put).collect();
    let count = asked.len();
    let replies = home.requests(1_700_000_000, asked);
    assert_eq!(replies.len(), count);
    // What it tells of has an SPI that was said.
    for reply in &replies {
        if let Reply::Spi { spi } = reply {
            let said =
                |message: Message<'_>| matches!(message.body, Body::NewSa(info) if info.id.spi == spi.0);
            assert!(messages(data).map_while(Result::ok).any(said));
        }
    }
    let heard = std::iter::from_fn(|| home.poll_notification()).count();
    assert!(heard <= data.len());
    for policy in policies {
        home.is_open(&policy.selector);
    }
}
