# FRR, which is designated router on a LAN, restarts gracefully; Coati helps, and not one route is taken out of any kernel.
# The next time it does not come back, and its routes go when its grace period is over. BIRD is helped as well.

hosts a b c
switch lan0 a 10.0.0.1 b 10.0.0.2
cable ac a 10.0.1.1 c 10.0.1.3
network_behind a $LAN_A
network_behind b $LAN_B
network_behind c 10.3.0.1
mkdir -p /run/site
cat > /run/site/frr.conf <<-END
	interface lan0
	 ip ospf hello-interval 1
	 ip ospf dead-interval 6
	interface ac
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 6
	router ospf
	 ospf router-id 1.1.1.1
	 network 10.0.0.0/8 area 0
	 passive-interface em1
END
cat > /run/b.conf <<-END
	interface lan0
	 ip ospf hello-interval 1
	 ip ospf dead-interval 6
	 ip ospf priority 9
	router ospf
	 ospf router-id 2.2.2.2
	 capability opaque
	 router-info as
	 graceful-restart grace-period 12
	 network 10.0.0.0/8 area 0
	 passive-interface em1
END
cat > /run/c.conf <<-END
	router id 3.3.3.3;
	graceful restart wait 10;
	protocol device {}
	protocol kernel { persist; ipv4 { export where source = RTS_OSPF; }; }
	protocol ospf v2 links {
	    graceful restart yes;
	    graceful restart time 15;
	    area 0 {
	        interface "ac" { type ptp; hello 1; dead 6; };
	        interface "em1" { stub; };
	    };
	}
END
all_have_routes() {
    has_ospf_route a 10.2.0.0/24 && has_ospf_route a 10.3.0.0/24 &&
        has_ospf_route b 10.1.0.0/24 && has_ospf_route b 10.3.0.0/24 &&
        has_ospf_route c 10.1.0.0/24 && has_ospf_route c 10.2.0.0/24
}
is_designated() { vtysh show ip ospf interface lan0 | grep -q "State DR,"; }
helps() { coati show ip ospf neighbor detail | grep -q "HELPER Status : Inprogress"; }
# All that Coati has sent is acknowledged: otherwise nobody is helped (RFC 3623 section 3.1).
is_back() { ! helps && [ "$(coati show ip ospf neighbor | awk '/Full/ && $(NF - 2) == 0' | wc -l)" = $1 ]; }
is_overdue() { coati show ip ospf neighbor | grep "^$1 " | grep -q ' 0.000s '; }
watch() { for host in "$@"; do ip -n $host monitor route > /run/monitor-$host & done; }
none_deleted() { ! grep -E '^Deleted 10[.][123][.]' $*; }

frr_up /run/b.conf
bird_up c /run/c.conf
within 20 "FRR is designated router" is_designated
coati_up
within 40 "routes on all three" all_have_routes
within 10 "database opaque-as: JSON as FRR's" same_json opaque-as
watch a b c
must "FRR says that it will restart" vtysh graceful-restart prepare ip ospf
within 10 "Coati helps it" helps
within 5 "database opaque-link: JSON as FRR's" same_json opaque-link
kill -9 $(cat /run/frr/ospfd.pid)
frr_daemon ospfd
within 40 "FRR is back" is_back 2
must "all routes have stayed" none_deleted /run/monitor-a /run/monitor-b /run/monitor-c
must "FRR has stayed designated router" is_designated

must "FRR says that it will restart" vtysh graceful-restart prepare ip ospf
within 10 "Coati helps it" helps
kill -9 $(cat /run/frr/ospfd.pid)
gone() { ! has_ospf_route a 10.2.0.0/24; }
within 10 "its dead interval is over" is_overdue 2[.]2[.]2[.]2
must "its route is there" has_ospf_route a 10.2.0.0/24
within 30 "it does not come back, and its route goes" gone

# Nobody is helped who has not acknowledged everything (RFC 3623 section 3.1), and FRR's routes have just gone.
acknowledged() { coati show ip ospf neighbor | awk '$1 == "3.3.3.3" { found = $(NF - 2) == 0 } END { exit !found }'; }
within 10 "BIRD has acknowledged that" acknowledged
birdc graceful restart > /dev/null
within 10 "Coati helps BIRD" helps
within 10 "its dead interval is over" is_overdue 3[.]3[.]3[.]3
must "its route is there" has_ospf_route a 10.3.0.0/24
bird_up c /run/c.conf -R
within 40 "BIRD is back" is_back 1
kill $COATI_PID; wait $COATI_PID; COATI_PID=
