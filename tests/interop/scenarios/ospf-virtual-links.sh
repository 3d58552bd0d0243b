# Coati without an interface in the backbone: a virtual link over a LAN to FRR, whose backbone it is, and another one
# through FRR to BIRD, which has the backbone from Coati alone. Both are authenticated.

hosts a b c
switch lan0 a 10.0.0.1 b 10.0.0.2
cable bc b 10.0.1.2 c 10.0.1.3
network_behind a $LAN_A
network_behind b $LAN_B
network_behind c 10.3.0.1
mkdir -p /run/site
cat > /run/site/frr.conf <<-END
	interface lan0
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	router ospf
	 ospf router-id 1.1.1.1
	 network 10.0.0.0/24 area 1
	 network 10.1.0.0/24 area 2
	 passive-interface em1
	 area 1 virtual-link 2.2.2.2 hello-interval 1 dead-interval 4
	 area 1 virtual-link 2.2.2.2 authentication message-digest message-digest-key 1 md5 geheim
	 area 1 virtual-link 3.3.3.3 hello-interval 1 dead-interval 4
	 area 1 virtual-link 3.3.3.3 authentication authentication-key geheim
END
cat > /run/b.conf <<-END
	interface lan0
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	interface bc
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	router ospf
	 ospf router-id 2.2.2.2
	 timers throttle lsa all 0
	 timers lsa min-arrival 0
	 timers throttle spf 0 50 500
	 network 10.0.0.0/16 area 1
	 network 10.2.0.0/24 area 0
	 passive-interface em1
	 area 1 virtual-link 1.1.1.1 hello-interval 1 dead-interval 4
	 area 1 virtual-link 1.1.1.1 authentication message-digest message-digest-key 1 md5 geheim
END
cat > /run/c.conf <<-END
	router id 3.3.3.3;
	protocol device {}
	protocol kernel { ipv4 { export where source ~ [ RTS_OSPF, RTS_OSPF_IA ]; }; }
	protocol ospf v2 links {
	    area 0 {};
	    area 1 {
	        interface "bc" { type ptp; hello 1; dead 4; };
	        virtual link 1.1.1.1 { hello 1; dead 4; authentication simple; password "geheim"; };
	    };
	    area 3 { interface "em1" { stub; }; };
	}
END
neighbours() { [ "$(coati show ip ospf neighbor | grep VLINK | grep -c Full/)" = $1 ]; }
all_have_routes() {
    has_ospf_route a 10.2.0.0/24 && has_ospf_route a 10.3.0.0/24 &&
        has_ospf_route b 10.1.0.0/24 && has_ospf_route b 10.3.0.0/24 &&
        has_ospf_route c 10.1.0.0/24 && has_ospf_route c 10.2.0.0/24
}
coati_up
frr_up /run/b.conf
bird_up c /run/c.conf
within 40 "Full with both over virtual links" neighbours 2
within 40 "routes on all three" all_have_routes
fact "$(coati show ip ospf neighbor | tail -n +2)"
must "a ping goes from area to area" ip netns exec a ping -n -c 1 -W 5 -I $LAN_A 10.3.0.1
# The transit area breaks between FRR and BIRD.
ip -n b link set bc down
is_alone() { neighbours 1 && ! has_ospf_route a 10.3.0.0/24 && ! has_ospf_route b 10.3.0.0/24 && ! has_ospf_route c 10.2.0.0/24; }
within 20 "without the way through FRR only its own virtual link is left" is_alone
must "and what it carries" has_ospf_route b 10.1.0.0/24
ip -n b link set bc up
within 40 "all routes are back" all_have_routes
kill $COATI_PID; wait $COATI_PID; COATI_PID=
