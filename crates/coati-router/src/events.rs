//! IKE's events as racoon's: what `racoonctl show-event` prints and what its commands wait for.

use std::net::{IpAddr, SocketAddr};

use coati_ike::{Cause, EndReason, Event, Stage};

use crate::admin::{EventKind, EventStatus};

/// The UDP port of IKE, for events about SAs, which have none.
const IKE_PORT: u16 = 500;

/// What watchers hear of this event; `wall` is in Unix seconds.
pub fn event_status(wall: u64, event: &Event) -> Vec<EventStatus> {
    let status = |kind, local: Option<SocketAddr>, remote: SocketAddr, why: &str| EventStatus {
        kind,
        at: wall,
        local,
        remote: Some(remote),
        address: None,
        banner: None,
        why: why.to_owned(),
    };
    let ike = |address: IpAddr| SocketAddr::new(address, IKE_PORT);
    match event {
        Event::IsakmpEstablished { local, remote, .. } => {
            vec![status(EventKind::Phase1Up, Some(*local), *remote, "")]
        }
        Event::LoggedIn { local, remote, user } => {
            vec![status(EventKind::XauthSuccess, Some(*local), *remote, &format!("user {user}"))]
        }
        // racoon says so too where no configuration is asked for: vpn-connect waits for it.
        Event::Ready { local, remote, settings, .. } => vec![EventStatus {
            address: settings.as_ref().and_then(|settings| settings.address).map(IpAddr::V4),
            banner: settings.as_ref().and_then(|settings| settings.banner.clone()),
            ..status(EventKind::Phase1ModeCfg, Some(*local), *remote, "")
        }],
        Event::IsakmpDeleted { local, remote, why, .. } => {
            let mut list = Vec::new();
            let text = why.to_string();
            if *why == EndReason::DeletedByPeer {
                list.push(status(EventKind::Phase1PeerDeleted, Some(*local), *remote, &text));
            }
            list.push(status(EventKind::Phase1Down, Some(*local), *remote, &text));
            list
        }
        Event::PairEstablished { outbound, .. } => {
            vec![status(EventKind::Phase2Up, Some(ike(outbound.source)), ike(outbound.destination), "")]
        }
        Event::PairDeleted { outbound, why, .. } => {
            vec![status(
                EventKind::Phase2Down,
                Some(ike(outbound.source)),
                ike(outbound.destination),
                &why.to_string(),
            )]
        }
        Event::PeerDead { remote } => {
            vec![status(EventKind::Phase1DpdTimeout, None, ike(*remote), "the peer answers no DPD any more")]
        }
        Event::Failure(failure) => {
            vec![status(
                failure_kind(failure.cause, failure.stage),
                None,
                ike(failure.remote),
                &failure.explanation,
            )]
        }
        Event::Phase1Begun { .. }
        | Event::QuickModeBegun { .. }
        | Event::InitialContact { .. }
        | Event::CertificateAccepted { .. }
        | Event::AddressGiven { .. } => Vec::new(),
    }
}

/// racoon's name for a failure; it has fewer.
fn failure_kind(cause: Cause, stage: Stage) -> EventKind {
    match (cause, stage) {
        (Cause::DataPlane, _) => EventKind::Phase2NoResponse,
        (Cause::Authentication, _) => EventKind::Phase1AuthFailed,
        (Cause::Login, _) => EventKind::XauthFailed,
        (Cause::Configuration, _) => EventKind::Phase2NoPhase1,
        // Of phase 2 it has this name alone; the record says why.
        (
            Cause::NoResponse | Cause::NoProposal | Cause::Policy | Cause::Protocol | Cause::Told,
            Stage::Phase2,
        ) => EventKind::Phase2NoResponse,
        (Cause::NoResponse, _) => EventKind::Phase1NoResponse,
        (Cause::NoProposal | Cause::Policy | Cause::Protocol | Cause::Told, _) => EventKind::Phase1NoProposal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vpn_connect_and_vpn_disconnect_wait_for() {
        let (local, remote) = ("192.0.2.1:500".parse().unwrap(), "192.0.2.2:500".parse().unwrap());
        let kinds = |event| event_status(1, &event).into_iter().map(|status| status.kind).collect::<Vec<_>>();
        let spi = String::from("11:22");
        assert_eq!(
            kinds(Event::IsakmpEstablished { local, remote, spi: spi.clone() }),
            [EventKind::Phase1Up]
        );
        let settings = coati_ike::Settings {
            address: Some("10.99.0.10".parse().unwrap()),
            banner: Some("Welcome".into()),
            ..Default::default()
        };
        for settings in [None, Some(Box::new(settings))] {
            let address = settings.as_ref().and_then(|settings| settings.address);
            let banner = settings.as_ref().and_then(|settings| settings.banner.clone());
            let list = event_status(1, &Event::Ready { local, remote, spi: spi.clone(), settings });
            let [status] = list.as_slice() else { panic!("{list:?}") };
            assert_eq!((status.kind, status.remote), (EventKind::Phase1ModeCfg, Some(remote)));
            assert_eq!((status.address, &status.banner), (address.map(IpAddr::V4), &banner));
        }
        for (stage, kind) in
            [(Stage::Phase1, EventKind::Phase1NoProposal), (Stage::Phase2, EventKind::Phase2NoResponse)]
        {
            assert_eq!(failure_kind(Cause::Policy, stage), kind);
        }
        let user = "frida".to_owned();
        assert_eq!(kinds(Event::LoggedIn { local, remote, user }), [EventKind::XauthSuccess]);
        let deleted = |why| Event::IsakmpDeleted { local, remote, spi: spi.clone(), why };
        assert_eq!(kinds(deleted(EndReason::Asked)), [EventKind::Phase1Down]);
        assert_eq!(
            kinds(deleted(EndReason::DeletedByPeer)),
            [EventKind::Phase1PeerDeleted, EventKind::Phase1Down]
        );
    }

    #[test]
    fn numbers_are_racoons() {
        let numbers: Vec<u32> = EventKind::ALL.into_iter().map(EventKind::number).collect();
        let racoons = (0x100..=0x109).chain(0x200..=0x203);
        assert_eq!(numbers, std::iter::once(1).chain(racoons).collect::<Vec<_>>());
    }
}
