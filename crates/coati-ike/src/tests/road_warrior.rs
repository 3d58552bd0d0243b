//! XAUTH and mode config, client and server, in every combination of authentication.

use coati_wire::isakmp::{Attribute, AttributeValue};

use super::certificates::{Pki, world};
use super::*;

fn users() -> Logins {
    Logins::Table(vec![User { name: "frida".into(), password: Secret::new(b"pa55 word".to_vec()) }])
}

/// A logs in at B with this method, and asks for an address.
fn configs(client: AuthMethod, server: AuthMethod, password: &str) -> [Config; 2] {
    let mut configs =
        if client.has_psk() { [config(B), config(A)] } else { Pki::rsa().configs(AuthMethod::RsaSig) };
    let [a, b] = &mut configs;
    a.peers[0].proposals[0].auth = client;
    b.peers[0].proposals[0].auth = server;
    if client == AuthMethod::HybridRsaClient {
        // The client has no certificate, the server needs no CA.
        a.peers[0].credentials.own = None;
        a.peers[0].my_identifier = Identifier::KeyId(b"road warriors".to_vec());
        b.peers[0].credentials.trust = Default::default();
    }
    a.peers[0].xauth_login = Some("frida".into());
    a.peers[0].mode_cfg = true;
    let key = Secret::new(password.as_bytes().to_vec());
    a.keys.push(PreSharedKey { identity: "frida".into(), key, origin: "psk.txt:2".into() });
    let network =
        |text: &str| Network { address: text.parse().unwrap(), mask: "255.255.0.0".parse().unwrap() };
    b.mode_config = Some(ModeConfig {
        network4: Some("10.99.0.10".parse().unwrap()),
        netmask4: Some("255.255.255.0".parse().unwrap()),
        pool_size: 2,
        dns4: vec!["10.1.0.53".parse().unwrap()],
        default_domain: Some("example.org".into()),
        split: Split::Include(vec![network("10.1.0.0"), network("10.2.0.0")]),
        logins: users(),
        ..ModeConfig::default()
    });
    configs
}

fn psk(password: &str) -> [Config; 2] {
    configs(AuthMethod::XauthPskClient, AuthMethod::XauthPskServer, password)
}

fn settings(world: &World) -> Option<Settings> {
    world.hosts[0].events.iter().find_map(|event| match event {
        Event::Ready { settings: Some(settings), .. } => Some((**settings).clone()),
        _ => None,
    })
}

#[test]
fn login_address_routes_then_quick_mode() {
    for (client, server) in [
        (AuthMethod::XauthPskClient, AuthMethod::XauthPskServer),
        (AuthMethod::XauthRsaClient, AuthMethod::XauthRsaServer),
        (AuthMethod::HybridRsaClient, AuthMethod::HybridRsaServer),
    ] {
        let mut world = world(1, configs(client, server, "pa55 word"));
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(5), World::is_up), "{client:?} {}", world.story());
        assert_eq!(world.hosts[0].failures() + &world.hosts[1].failures(), "", "{client:?}");
        let given = settings(&world).unwrap();
        let environment = given.environment();
        let value =
            |name| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("INTERNAL_ADDR4"), Some("10.99.0.10"));
        assert_eq!(value("SPLIT_INCLUDE_CIDR"), Some("10.1.0.0/16 10.2.0.0/16"));
        assert_eq!(value("DEFAULT_DOMAIN"), Some("example.org"));
        let position = |wanted: fn(&Event) -> bool| world.hosts[0].events.iter().position(wanted).unwrap();
        let login = position(|event| matches!(event, Event::LoggedIn { user, .. } if user == "frida"));
        let configured = position(|event| matches!(event, Event::Ready { settings: Some(_), .. }));
        let quick = position(|event| matches!(event, Event::QuickModeBegun { .. }));
        assert!(login < configured && configured < quick, "{}", world.story());
        assert_eq!(world.hosts[1].engine.leases(), 1);
        // The address is free again when the ISAKMP SA is gone.
        world.hosts[0].engine.shutdown();
        world.settle();
        world.run(Duration::from_secs(5));
        assert_eq!(world.hosts[1].engine.leases(), 0);
    }
}

/// What mode config has given is all that a policy is made for.
#[test]
fn a_client_gets_packets_for_the_address_it_was_given_only() {
    use super::selectors::{between_networks, in_tunnel_mode};
    for (claim, up) in [("10.99.0.10/32", true), ("10.99.0.11/32", false), ("10.2.0.0/16", false)] {
        let mut configs = psk("pa55 word");
        configs[1].peers[0].generate_policy = GeneratePolicy::Require;
        let mut world = world(1, configs);
        let selector = between_networks(claim, "10.1.0.0/16");
        world.hosts[0].engine.handle_policies(&[in_tunnel_mode(selector, A, B)]);
        world.hosts[1].engine.handle_policies(&[]);
        assert_eq!(world.hosts[0].engine.establish_pair(world.now, &selector), Ok(()));
        world.settle();
        world.run(Duration::from_secs(2));
        let found = world.hosts[0].events.iter().any(|event| matches!(event, Event::PairEstablished { .. }));
        assert_eq!(found, up, "{claim}: {}", world.story());
        assert_eq!(world.hosts[1].failures().contains("mode config has given it 10.99.0.10"), !up);
    }
}

#[test]
fn a_wrong_password_ends_it_and_says_so() {
    for (client, server) in [
        (AuthMethod::XauthPskClient, AuthMethod::XauthPskServer),
        (AuthMethod::HybridRsaClient, AuthMethod::HybridRsaServer),
    ] {
        let mut world = world(1, configs(client, server, "guess"));
        world.acquire(0);
        world.run(Duration::from_millis(900));
        // The refusal takes its time: guessing is slow.
        assert_eq!(world.hosts[0].failures(), "");
        world.run(Duration::from_secs(30));
        assert!(!world.is_up());
        let (ours, theirs) = (world.hosts[0].failures(), world.hosts[1].failures());
        assert!(ours.contains("it refuses the login of \"frida\""), "{ours}");
        assert!(theirs.contains("the login of \"frida\" was refused"), "{theirs}");
        for host in &world.hosts {
            assert!(host.engine.isakmp_sas().is_empty());
            let deleted = |event: &Event| matches!(event, Event::IsakmpDeleted { .. });
            assert!(host.events.iter().any(deleted), "{}", world.story());
        }
        let now = world.now;
        assert!(world.hosts.iter_mut().all(|host| host.sas(now).is_empty()));
    }
}

/// The owner decides, for RADIUS or PAM.
#[test]
fn the_owner_decides() {
    for passes in [true, false] {
        let mut configs = psk("anything");
        configs[1].mode_config.as_mut().unwrap().logins = Logins::Owner;
        let mut world = world(1, configs);
        world.acquire(0);
        world.run(Duration::from_secs(3));
        assert!(!world.is_up());
        let asked = world.hosts[1].engine.poll_login().unwrap();
        assert_eq!((asked.user.as_str(), asked.password.expose()), ("frida", &b"anything"[..]));
        assert!(!format!("{asked:?}").contains("anything"));
        let now = world.now;
        world.hosts[1].engine.handle_login(now, asked.id, passes);
        world.settle();
        world.run(Duration::from_secs(5));
        assert_eq!(world.is_up(), passes, "{}", world.story());
        // A second verdict changes nothing.
        world.hosts[1].engine.handle_login(now, asked.id, !passes);
        world.settle();
        world.run(Duration::from_secs(5));
        assert_eq!(world.is_up(), passes);
    }
}

#[test]
fn through_loss_and_repetition() {
    for seed in 0..60 {
        let mut world = world(seed, psk("pa55 word"));
        world.loss = 20;
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(60), World::is_up), "seed {seed} {}", world.story());
        assert!(settings(&world).is_some());
        assert_eq!(world.hosts[1].engine.leases(), 1);
    }
}

/// Everything repeated and shuffled: nothing is done twice.
#[test]
fn repeated_messages_are_answered_not_acted_upon() {
    let mut world = world(1, psk("pa55 word"));
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
    let log = world.log.clone();
    let count = |world: &World| world.hosts.iter().map(|host| host.events.len()).collect::<Vec<_>>();
    let before = count(&world);
    for (from, bytes) in log.iter().filter(|(_, bytes)| bytes[18] == 6) {
        let (to, source) = (1 - from, SocketAddr::new(world.hosts[*from].address, 500));
        let local = SocketAddr::new(world.hosts[to].address, 500);
        let now = world.now;
        world.hosts[to].engine.handle_input(now, local, source, bytes);
    }
    world.settle();
    world.run(Duration::from_secs(3));
    assert_eq!(count(&world), before, "{}", world.story());
}

/// CVE-2021-45079 and its class: a server that skips the login, or says at once that it has passed, gets nowhere.
#[test]
fn cve_2021_45079_no_success_without_the_login() {
    let [mut a, b] = psk("pa55 word");
    a.peers[0].mode_cfg = false;
    // B takes plain pre-shared keys under the number of XAUTH: it never asks.
    let mut b = b;
    b.peers[0].proposals[0].auth = AuthMethod::XauthPskServer;
    b.mode_config = None;
    let mut world = world(1, [a, b]);
    world.acquire(0);
    world.run(Duration::from_secs(90));
    assert!(!world.is_up());
    let now = world.now;
    assert!(world.hosts.iter_mut().all(|host| host.sas(now).is_empty()));
    let text = world.hosts[1].failures();
    assert!(text.contains("there is no mode_cfg section that says who may"), "{text}");
}

/// A client that does not log in gets no quick mode, whatever it tries.
#[test]
fn quick_mode_before_the_login_is_refused() {
    let mut configs = psk("pa55 word");
    configs[1].mode_config.as_mut().unwrap().logins = Logins::Owner;
    let mut world = world(1, configs);
    world.acquire(0);
    world.run(Duration::from_secs(2));
    // Meanwhile B's own traffic wants an SA too: it waits.
    world.acquire(1);
    world.run(Duration::from_secs(2));
    assert!(!world.is_up());
    let now = world.now;
    assert!(world.hosts.iter_mut().all(|host| host.sas(now).is_empty()));
    // Nobody decides: it ends after a minute.
    world.run(Duration::from_secs(70));
    assert!(world.hosts[1].failures().contains("nobody decided about it"), "{}", world.hosts[1].failures());
}

#[test]
fn what_is_missing_is_named() {
    let mut configs = psk("pa55 word");
    configs[0].peers[0].xauth_login = None;
    let mut world = world(1, configs);
    world.acquire(0);
    world.run(Duration::from_secs(5));
    let text = world.hosts[0].failures();
    assert!(text.contains("racoon.conf:10:1: xauth_login \"NAME\";"), "{text}");
    let mut configs = psk("pa55 word");
    configs[0].keys.pop();
    let mut world = super::certificates::world(1, configs);
    world.acquire(0);
    world.run(Duration::from_secs(5));
    let text = world.hosts[0].failures();
    assert!(text.contains("psk.txt has no line with the password of frida"), "{text}");
}

/// `racoonctl vpn-connect -u`: what is typed takes the place of the files, also at the next phase 1, until it is refused.
#[test]
fn a_login_that_is_typed() {
    let mut configs = psk("pa55 word");
    let Some(Logins::Table(users)) = configs[1].mode_config.as_mut().map(|config| &mut config.logins) else {
        panic!()
    };
    users.push(User { name: "emil".into(), password: Secret::new(b"typed".to_vec()) });
    let mut world = world(1, configs);
    let remote = world.hosts[1].address;
    let typed = |world: &mut World, user: &str, password: &[u8]| {
        let password = Secret::new(password.to_vec());
        assert!(world.hosts[0].engine.log_in_with(remote, None, user.to_owned(), password));
    };
    typed(&mut world, "emil", b"typed");
    let nobody = Secret::new(Vec::new());
    assert!(!world.hosts[1].engine.log_in_with(remote, None, "x".into(), nobody));
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up), "{}", world.story());
    let logged_in = |world: &World, host: usize, name: &str| {
        let is_it = |event: &&Event| matches!(event, Event::LoggedIn { user, .. } if user == name);
        world.hosts[host].events.iter().filter(is_it).count()
    };
    assert_eq!((logged_in(&world, 0, "emil"), logged_in(&world, 1, "emil")), (1, 1));
    // Who is logged out here is told, and loses everything.
    assert_eq!(world.hosts[1].engine.logout("frida"), 0);
    assert!(world.hosts[1].engine.logout("emil") > 0);
    world.settle();
    world.run(Duration::from_secs(2));
    assert!(world.hosts.iter().all(|host| host.engine.isakmp_sas().is_empty()));
    assert_eq!(world.hosts[1].engine.leases(), 0);
    typed(&mut world, "emil", b"guess");
    world.acquire(0);
    world.run(Duration::from_secs(10));
    assert!(world.hosts[0].failures().contains("it refuses the login of \"emil\""));
    // Again by the files.
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up), "{}", world.story());
    assert_eq!(logged_in(&world, 1, "frida"), 1);
}

/// The first thing that may go on is told once, with or without login and settings.
#[test]
fn ready_once_for_each_isakmp_sa() {
    let plain = [config(B), config(A)];
    for (configs, settings) in [(plain, false), (psk("pa55 word"), true)] {
        let mut world = world(1, configs);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(5), World::is_up));
        for (index, host) in world.hosts.iter().enumerate() {
            let ready: Vec<bool> = host
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Ready { settings, .. } => Some(settings.is_some()),
                    _ => None,
                })
                .collect();
            assert_eq!(ready, [settings && index == 0], "{}", world.story());
        }
    }
}

/// Attributes of no meaning do no harm to either side.
#[test]
fn unknown_attributes_are_passed_over() {
    let odd = Attribute { class: 0x7fff, value: AttributeValue::Long(vec![0; 300]) };
    let payload = coati_wire::isakmp::Configuration { kind: 9, identifier: 0, attributes: vec![odd; 64] };
    assert_eq!(coati_wire::isakmp::Configuration::parse(&payload.emit()).unwrap(), payload);
}
