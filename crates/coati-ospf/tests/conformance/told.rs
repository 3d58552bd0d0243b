//! What the router is told: its configuration, its interfaces, and what it knows from elsewhere.

use std::net::Ipv4Addr;
use std::time::Duration;

use coati_ospf::{
    AreaId, AreaKind, Authentication, BorderRule, Deviations, ExternalRange, ExternalRoute, InterfaceConfig,
    Key, KeyAlgorithm, Lifetime, Link, NetworkType, Nssa, Range, Secret, StaticNeighbour, Translate,
};

use crate::play::{Done, Play};
use crate::text::{Words, unknown};

impl Play {
    pub fn router(&mut self, words: &mut Words<'_>) -> Done {
        self.config.router_id = words.parse("router id")?;
        while let Some(word) = words.more() {
            match word {
                "strict" => {
                    self.config.deviations = Deviations {
                        hello_at_once: false,
                        early_retransmission: false,
                        prompt_origination: false,
                        loss_at_once: false,
                        remembered_neighbour: false,
                        remembered_election: false,
                        flap_damping: false,
                        unicast_fallback: false,
                    };
                }
                "rfc1583" => self.config.rfc1583 = true,
                "border" => {
                    self.config.border = match words.word("rule")? {
                        "standard" => BorderRule::Standard,
                        "ibm" => BorderRule::Ibm,
                        "cisco" => BorderRule::Cisco,
                        other => return Err(unknown(other)),
                    };
                }
                "maximum-paths" => self.config.maximum_paths = words.parse("number")?,
                "max-metric" => self.config.stub_router.always = true,
                "max-metric-on-startup" => {
                    let seconds = words.parse("time in seconds")?;
                    self.config.stub_router.on_startup = Some(Duration::from_secs(seconds));
                }
                "no-helper" => self.config.graceful_restart_helper = false,
                "clock" => self.clock = Some(words.parse("Unix time")?),
                other => return Err(unknown(other)),
            }
        }
        self.reconfigured();
        Ok(())
    }

    pub fn area(&mut self, words: &mut Words<'_>) -> Done {
        let id = area_id(words.word("area")?)?;
        let area = self.config.areas.entry(id).or_default();
        match words.word("kind of area, `default-cost`, `range`, `nssa-range` or `virtual-link`")? {
            "stub" => area.kind = AreaKind::Stub { summaries: !no_summary(words) },
            "nssa" => {
                let mut nssa = Nssa {
                    summaries: true,
                    translate: Translate::Candidate,
                    suppress_forwarding: false,
                    default_route: None,
                };
                while let Some(word) = words.more() {
                    match word {
                        "no-summary" => nssa.summaries = false,
                        "translate-always" => nssa.translate = Translate::Always,
                        "translate-never" => nssa.translate = Translate::Never,
                        "suppress-forwarding" => nssa.suppress_forwarding = true,
                        "default-route" => {
                            nssa.default_route = Some((words.parse("metric")?, words.word("type")? == "e2"));
                        }
                        other => return Err(unknown(other)),
                    }
                }
                area.kind = AreaKind::Nssa(nssa);
            }
            "default-cost" => area.default_cost = words.parse("cost")?,
            "range" => {
                let (network, prefix_len) = words.prefix()?;
                let mut range = Range { network, prefix_len, advertise: true, cost: None, substitute: None };
                while let Some(word) = words.more() {
                    match word {
                        "not-advertise" => range.advertise = false,
                        "cost" => range.cost = Some(words.parse("cost")?),
                        other => return Err(unknown(other)),
                    }
                }
                area.ranges.push(range);
            }
            "nssa-range" => area.nssa_ranges.push(external_range(words)?),
            "virtual-link" => {
                area.virtual_links.insert(words.parse("router id")?, InterfaceConfig::default());
            }
            other => return Err(unknown(other)),
        }
        self.reconfigured();
        Ok(())
    }

    fn reconfigured(&mut self) {
        let (now, config) = (self.instant(), self.config.clone());
        if let Some(engine) = &mut self.engine {
            engine.reconfigure(now, config);
        }
    }

    pub fn interface(&mut self, words: &mut Words<'_>) -> Done {
        let name = words.word("name")?;
        let (address, prefix_len) = words.prefix()?;
        let mut link = Link {
            index: u32::try_from(self.links.len() + 1).unwrap_or(0),
            name: name.into(),
            address,
            prefix_len,
            peer: None,
            mtu: 1500,
            speed: None,
            point_to_point: name.starts_with("gre"),
            loopback: name.starts_with("lo"),
        };
        let mut config = InterfaceConfig::default();
        let mut keys = Vec::new();
        while let Some(word) = words.more() {
            match word {
                "area" => config.area = area_id(words.word("area")?)?,
                "peer" => link.peer = Some(words.parse("address")?),
                "mtu" => link.mtu = words.parse("MTU")?,
                "broadcast" => config.network = Some(NetworkType::Broadcast),
                "non-broadcast" => config.network = Some(NetworkType::NonBroadcast),
                "point-to-point" => config.network = Some(NetworkType::PointToPoint),
                "point-to-multipoint" => config.network = Some(NetworkType::PointToMultipoint),
                "cost" => config.cost = words.parse("cost")?,
                "priority" => config.priority = words.parse("priority")?,
                "interval" => config.hello_interval = words.parse("interval")?,
                "dead" => config.dead_interval = words.parse("interval")?,
                "retransmit" => config.retransmit_interval = Duration::from_secs(words.parse("interval")?),
                "delay" => config.transmit_delay = words.parse("delay")?,
                "passive" => config.passive = true,
                "mtu-ignore" => config.mtu_ignore = true,
                "ttl-security" => config.ttl_security = Some(words.parse("number of hops")?),
                "prefix-suppression" => config.prefix_suppression = true,
                "neighbour" => config.neighbours.push(StaticNeighbour {
                    address: words.parse("address")?,
                    priority: words.parse("priority")?,
                    poll_interval: Duration::from_secs(words.parse("poll interval")?),
                }),
                "password" => {
                    let secret = Secret::new(words.word("password")?.into());
                    config.authentication = Authentication::Simple(secret);
                }
                "key" => keys.push(key(words)?),
                other => return Err(unknown(other)),
            }
        }
        if !keys.is_empty() {
            config.authentication = Authentication::Cryptographic(keys);
        }
        let now = self.instant();
        match self.links.iter_mut().find(|(known, _)| known.name == link.name) {
            Some(known) => {
                link.index = known.0.index;
                *known = (link.clone(), config.clone());
            }
            None => self.links.push((link.clone(), config.clone())),
        }
        self.engine()?.interface_up(now, link, config);
        Ok(())
    }

    pub fn external(&mut self, words: &mut Words<'_>) -> Done {
        let (network, prefix_len) = words.prefix()?;
        let mut route = ExternalRoute { network, prefix_len, type2: true, metric: 20, tag: 0, gateway: None };
        while let Some(word) = words.more() {
            match word {
                "e1" => route.type2 = false,
                "e2" => route.type2 = true,
                "metric" => route.metric = words.parse("metric")?,
                "tag" => route.tag = words.parse("tag")?,
                "via" => route.gateway = Some(words.parse("address")?),
                other => return Err(unknown(other)),
            }
        }
        self.externals.insert((network, prefix_len), route);
        self.externals_changed()
    }

    pub fn no(&mut self, words: &mut Words<'_>) -> Done {
        match words.word("`external`")? {
            "external" => {
                self.externals.remove(&words.prefix()?);
                self.externals_changed()
            }
            other => Err(unknown(other)),
        }
    }

    fn externals_changed(&mut self) -> Done {
        let (now, routes) = (self.instant(), self.externals.values().copied().collect::<Vec<_>>());
        self.engine()?.set_externals(now, routes);
        Ok(())
    }
}

fn area_id(word: &str) -> Result<AreaId, String> {
    let number = word.parse::<u32>().map(Ipv4Addr::from);
    number.or_else(|_| word.parse()).map_err(|_| format!("`{word}` is no area"))
}

fn no_summary(words: &mut Words<'_>) -> bool {
    let said = words.peek() == Some("no-summary");
    if said {
        words.more();
    }
    said
}

fn external_range(words: &mut Words<'_>) -> Result<ExternalRange, String> {
    let (network, prefix_len) = words.prefix()?;
    let mut range = ExternalRange { network, prefix_len, advertise: true, cost: None, tag: 0 };
    while let Some(word) = words.more() {
        match word {
            "not-advertise" => range.advertise = false,
            "cost" => range.cost = Some(words.parse("cost")?),
            "tag" => range.tag = words.parse("tag")?,
            other => return Err(unknown(other)),
        }
    }
    Ok(range)
}

/// `ALGORITHM ID SECRET [from UNIX] [until UNIX]`
fn key(words: &mut Words<'_>) -> Result<Key, String> {
    let algorithm = match words.word("algorithm")? {
        "md5" => KeyAlgorithm::Md5,
        "hmac-sha-1" => KeyAlgorithm::HmacSha1,
        "hmac-sha-256" => KeyAlgorithm::HmacSha256,
        "hmac-sha-384" => KeyAlgorithm::HmacSha384,
        "hmac-sha-512" => KeyAlgorithm::HmacSha512,
        other => return Err(unknown(other)),
    };
    let id = words.parse("key id")?;
    let secret = Secret::new(words.word("secret")?.into());
    let mut lifetime = Lifetime::default();
    while let Some(word @ ("from" | "until")) = words.peek() {
        words.more();
        let time = Some(words.parse("Unix time")?);
        if word == "from" { lifetime.from = time } else { lifetime.until = time }
    }
    Ok(Key { id, algorithm, secret, send: lifetime, accept: lifetime })
}
