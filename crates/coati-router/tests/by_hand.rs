//! Keys by hand: nobody makes new ones, so that it is said when they end, and when the other end has begun anew.

use std::time::{Duration, Instant};

use coati_config::Source;
use coati_config::site::{Site, SiteFiles};
use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Packet};
use coati_router::{Control, ControlEvent, Now, Plane};
use coati_sadb::{Reply, Request};
use coati_wire::ip;

const KEYS: &str = "-E aes-cbc \"0123456789abcdef\" -A hmac-sha1 \"0123456789abcdefghij\"";

/// One of two hosts: its control plane, and what asked of it is to change what it does.
fn control(now: Now, directions: [&str; 2], limit: &str) -> (Control, Site) {
    let [there, back] = directions;
    let text = format!(
        "add 192.0.2.1 192.0.2.2 esp 0x1001 -r 8 {limit} {KEYS};
         add 192.0.2.2 192.0.2.1 esp 0x1002 -r 8 {KEYS};
         spdadd 192.0.2.1 192.0.2.2 udp -P {there} ipsec esp/transport//require;
         spdadd 192.0.2.2 192.0.2.1 udp -P {back} ipsec esp/transport//require;"
    );
    let files = SiteFiles { setkey_conf: Some(Source::new("setkey.conf", text)), ..SiteFiles::default() };
    let (site, remarks) = Site::read(&files);
    assert!(remarks.is_empty(), "{remarks:?}");
    let mut plane = Plane::new(|| Box::new(SeededRandom::new(1)));
    let requests = site.statements.iter().map(|statement| statement.request.clone()).collect();
    assert!(plane.requests(now.at, now.wall, requests).iter().all(|reply| *reply == Reply::Done));
    (Control::new(&site, plane, || Box::new(SeededRandom::new(2))), site)
}

fn packet() -> Packet {
    let (source, destination) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let header = ip::Repr {
        tos: 0,
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol: 17,
        source,
        destination,
        payload_len: 32,
    };
    let mut bytes = vec![0; header.header_len() + 32];
    header.emit(&mut bytes).unwrap();
    Packet::new(&bytes)
}

/// One packet from `a` to `b`.
fn send(a: &Control, b: &Control, wall: u64) -> Result<(), Drop> {
    let mut packets = [packet()];
    let (from, to) = (a.plane().tables(), b.plane().tables());
    let mut verdicts = Vec::new();
    let mut random = SeededRandom::new(3);
    from.load().ipsec.outbound(&mut packets, &mut verdicts, wall, &mut random);
    let [packet] = &mut packets;
    to.load().ipsec.inbound(packet, wall).map(drop)
}

fn ended(control: &mut Control) -> usize {
    std::iter::from_fn(|| control.poll_event())
        .filter(|event| matches!(event, ControlEvent::HandKeysEnded(expire) if expire.id.spi.0 == 0x1001))
        .count()
}

#[test]
fn the_end_of_keys_is_said_once_and_new_ones_mend_it() {
    let mut now = Now { at: Instant::now(), wall: 1000 };
    let (mut a, site) = control(now, ["out", "in"], "-lh 60");
    now = Now { at: now.at + Duration::from_secs(61), wall: 1061 };
    a.handle_timeout(now);
    assert_eq!(ended(&mut a), 1);
    // A packet wants keys, and nobody here can negotiate.
    let mut packets = [packet()];
    let mut verdicts = Vec::new();
    a.plane().tables().load().ipsec.outbound(&mut packets, &mut verdicts, 1061, &mut SeededRandom::new(3));
    let Some(coati_ipsec::Outbound::Wait(policy)) = verdicts.first().copied() else { panic!("{verdicts:?}") };
    let [held] = packets;
    a.handle_waiting(now, policy, held);
    assert!(a.failures(now).iter().any(|text| text.contains("no remote section")), "{:?}", a.failures(now));
    let add = site.statements.iter().map(|it| it.request.clone()).find(|it| matches!(it, Request::Add(_)));
    assert_eq!(a.requests(now, add.into_iter().collect()), [Reply::Done]);
    assert_eq!(a.failures(now), Vec::<String>::new());
    // What is removed by hand does not end by itself.
    now = Now { at: now.at + Duration::from_secs(30), wall: 1091 };
    assert_eq!(a.requests(now, vec![Request::Flush(None)]), [Reply::Done]);
    a.handle_timeout(Now { at: now.at + Duration::from_secs(61), wall: 1152 });
    assert_eq!(ended(&mut a), 0);
}

#[test]
fn an_end_that_has_begun_anew_with_the_same_keys() {
    let now = Now { at: Instant::now(), wall: 1000 };
    let (a, _) = control(now, ["out", "in"], "");
    let (b, _) = control(now, ["in", "out"], "");
    for _ in 0..100 {
        assert_eq!(send(&a, &b, 1000), Ok(()));
    }
    let (anew, _) = control(now, ["out", "in"], "");
    for count in 1..=5 {
        assert_eq!(b.problems(now), Vec::<String>::new(), "{count}");
        assert!(send(&anew, &b, 1010).is_err());
    }
    let problems = b.problems(Now { at: now.at, wall: 1030 });
    let said = "all 5 packets of the last 20 s through SA 0x00001001 from 192.0.2.1 were there before";
    assert!(matches!(&problems[..], [one] if one.starts_with(said)), "{problems:?}");
    // As soon as something new comes, all is well.
    assert_eq!(send(&a, &b, 1040), Ok(()));
    assert_eq!(b.problems(now), Vec::<String>::new());
}
