//! The daemon between OSPF and the kernel: interfaces, routes there and what others do to them, packets of OSPF and BFD.

use std::net::Ipv4Addr;
use std::time::Instant;

use coati_os::netlink::News;
use coati_router::INSIDE;
use coati_router::admin::Milestone;

use super::log::Level;
use super::run::{CALM, Daemon, now};

/// When so many routes have changed at once, memory was needed that is not any more some time later.
const MANY_ROUTES: usize = 1000;

impl Daemon {
    pub(super) fn look_at_interfaces(&mut self) {
        self.routes_unsure = true;
        if self.kernel.installed() > 0
            && let Err(error) = self.kernel.look_at_routes()
        {
            self.log.line(Level::Error, &format!("reading the kernel's routes: {error}"));
        }
        match self.kernel.links() {
            Ok(links) => self.control.handle_interfaces(now(), links),
            Err(error) => self.log.line(Level::Error, &format!("reading the interfaces: {error}")),
        }
        // Counted before the first packet that says so leaves.
        if self.control.memory().boot_count != self.memory.kept().boot_count {
            self.keep_memory();
        }
        self.look_at_routes_of_others();
        if self.control.knows_its_routes() {
            self.change_routes(&[]);
        }
        for error in self.kernel.speak_on(self.control.ospf_links()) {
            self.log.line(Level::Error, &error.to_string());
        }
    }

    pub(super) fn look_at_routes_of_others(&mut self) {
        if self.control.wants_kernel_routes() {
            match self.kernel.routes_of_others() {
                Ok(routes) => self.control.handle_kernel_routes(now(), routes),
                Err(error) => self.log.line(Level::Error, &format!("reading the kernel's routes: {error}")),
            }
        }
    }

    /// What interfaces do, and what others do to routes.
    fn hear_kernel(&mut self, news: &News) {
        if news.lost {
            self.log.line(
                Level::Info,
                "what the kernel said of routes and interfaces was lost: all is looked at",
            );
        }
        self.kernel.hear_routes(&news.routes);
        if news.interfaces || news.lost {
            self.look_at_interfaces();
        }
        self.control.handle_refused_routes(now(), self.kernel.refused());
    }

    pub(super) fn put_routes_again(&mut self) {
        let (again, removed) = self.kernel.take_removed();
        if removed > 0 {
            let text = format!("somebody has removed {removed} of our routes: they are put there again");
            self.log.line(Level::Info, &text);
        }
        if !again.is_empty() {
            self.change_routes(&again);
        }
    }

    /// Packets of OSPF and BFD, and news of interfaces.
    pub(super) fn receive_routing(&mut self) {
        let ready = self.kernel.ready();
        // Before interfaces are looked at, which may open and close sockets.
        let packets = self.kernel.receive(&ready, &mut self.buffer);
        if ready.news != News::default() {
            self.hear_kernel(&ready.news);
        }
        if !packets.is_empty() {
            let packets = packets.iter().map(|(interface, packet)| (*interface, packet.as_slice()));
            self.control.handle_ospf_together(now(), packets);
        }
        for (interface, source, ttl, payload) in self.kernel.receive_bfd(&ready) {
            let input = coati_bfd::Input { interface, source, ttl, payload: &payload };
            self.control.handle_bfd(now(), &input);
        }
    }

    /// Brings the kernel's table up to OSPF's where that has changed; all of it after a start, or when interfaces may be
    /// others. What is there from before a graceful restart stays until that is over.
    pub(super) fn change_routes(&mut self, moved: &[(Ipv4Addr, u8)]) {
        let route = |(network, prefix_len): &(Ipv4Addr, u8)| {
            let route = self.control.kernel_route(*network, *prefix_len);
            ((*network, *prefix_len), route)
        };
        let all = self.routes_unsure && self.control.knows_its_routes();
        self.routes_unsure &= !all;
        let errors = match all {
            true => self.kernel.set_routes(self.control.kernel_routes()),
            false => self.kernel.change_routes(moved.iter().map(route)),
        };
        for error in errors {
            self.log.line(Level::Error, &error.to_string());
        }
        self.control.handle_refused_routes(now(), self.kernel.refused());
        if moved.len() > MANY_ROUTES {
            self.give_back_at = Some(Instant::now() + CALM);
        }
        if self.kernel.installed() > 0 {
            self.reached(Milestone::Routes);
        }
    }

    /// Routes to the interface for policies in tunnel mode, as the policies are now.
    pub(super) fn set_inside_routes(&mut self) {
        let own = self.kernel.own_addresses();
        let (routes, mut problems) = coati_router::inside_routes(&self.control.plane().policies(), &own);
        if !self.kernel.has_inside() {
            if !routes.is_empty() {
                problems.push(format!("no {INSIDE} for policies in tunnel mode: only a restart makes it"));
            }
        } else {
            problems.extend(self.kernel.set_inside_routes(&routes).iter().map(ToString::to_string));
        }
        for problem in problems {
            self.log.line(Level::Error, &problem);
        }
    }
}
