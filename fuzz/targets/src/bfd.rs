//! BFD: packets, and a session that gets any of them.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_bfd::{Ends, Engine, Event, Input, Times, Wanted};
use coati_crypto::SeededRandom;
use coati_wire::bfd::Control;

const PEER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// Packets of 24 bytes, one after the other, at a session; all ones as the receiver's number stand for the right one.
pub fn bfd(data: &[u8]) {
    let mut now = Instant::now();
    let mut engine = Engine::new(Box::new(SeededRandom::new(1)));
    let wanted = Wanted {
        ends: Ends { interface: 1, peer: PEER },
        name: "gre0".into(),
        local: Ipv4Addr::new(203, 0, 113, 1),
        times: Times::default(),
    };
    engine.set_sessions(now, vec![wanted.clone()]);
    let number = engine.poll_transmit().and_then(|t| Control::parse(&t.payload).ok()).map_or(0, |c| c.mine);
    assert_ne!(number, 0);
    let mut up = false;
    for chunk in data.chunks(24) {
        let mut bytes = chunk.to_vec();
        if let Some(yours) = bytes.get_mut(8..12).filter(|yours| **yours == [0xff; 4]) {
            yours.copy_from_slice(&number.to_be_bytes());
        }
        if let Ok(packet) = Control::parse(&bytes) {
            assert_eq!(Control::parse(&packet.emit()), Ok(packet));
        }
        engine.handle_input(now, &Input { interface: 1, source: PEER, ttl: 255, payload: &bytes });
        now += Duration::from_millis(u64::from(chunk.first().copied().unwrap_or(0)) * 10);
        engine.handle_timeout(now);
        assert!(engine.next_timeout().is_none_or(|next| next > now), "it does not wait");
        let mut sent = 0;
        while let Some(transmit) = engine.poll_transmit() {
            assert!(Control::parse(&transmit.payload).is_ok_and(|packet| packet.mine == number));
            sent += 1;
        }
        assert!(sent <= 3, "{sent} packets for one");
        while let Some(event) = engine.poll_event() {
            let is_up = matches!(event, Event::Up { .. });
            assert_ne!(up, is_up, "it was so before");
            up = is_up;
        }
    }
    engine.set_sessions(now, Vec::new());
    assert_eq!(engine.next_timeout(), None);
}
