# A ring of Coati, FRR and BIRD, each link with authentication of another kind: whichever link is cut, with a word or in
# silence, and comes back, all three have the routes they should have, at the costs they should have.

hosts a b c
cable ab a 10.0.12.1 b 10.0.12.2
cable bc b 10.0.23.2 c 10.0.23.3
# Through a bridge: neither end sees when it is cut in its middle.
switch ca a 10.0.31.1 c 10.0.31.3
network_behind a $LAN_A
network_behind b $LAN_B
network_behind c 10.3.0.1

mkdir -p /run/site
cat > /run/site/frr.conf <<-END
	key chain ring
	 key 7
	  key-string geheim
	  cryptographic-algorithm hmac-sha-256
	interface ab
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	 ip ospf authentication message-digest
	 ip ospf message-digest-key 1 md5 geheim
	interface ca
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	 ip ospf authentication key-chain ring
	interface em1
	 ip ospf cost 5
	router ospf
	 ospf router-id 1.1.1.1
	 network 10.0.0.0/8 area 0
	 passive-interface em1
END
cat > /run/b.conf <<-END
	interface ab
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	 ip ospf cost 10
	 ip ospf authentication message-digest
	 ip ospf message-digest-key 1 md5 geheim
	interface bc
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	 ip ospf cost 10
	 ip ospf authentication
	 ip ospf authentication-key geheim
	interface em1
	 ip ospf cost 5
	router ospf
	 ospf router-id 2.2.2.2
	 timers throttle lsa all 0
	 timers lsa min-arrival 0
	 timers throttle spf 0 50 500
	 network 10.0.0.0/8 area 0
	 passive-interface em1
END
cat > /run/c.conf <<-END
	router id 3.3.3.3;
	protocol device {}
	protocol kernel { ipv4 { export where source = RTS_OSPF; }; }
	protocol ospf v2 ring {
	    area 0 {
	        interface "bc" { type ptp; hello 1; dead 4; cost 10; authentication simple; password "geheim"; };
	        interface "ca" {
	            type ptp; hello 1; dead 4; cost 10; authentication cryptographic;
	            password "geheim" { id 7; algorithm hmac sha256; };
	        };
	        interface "em1" { stub; cost 5; };
	    };
	}
END

# The routes that have a next hop: router, destination, cost, next hops; and when the kernel has others, those.
tables() {
    {
        echo "== a"; coati show ip ospf route; ip -n a route
        echo "== b"; vtysh show ip ospf route; ip -n b route
        echo "== c"; birdc show route protocol ring; ip -n c route
    } | awk '
        function hops(list) {
            for (i = 1; i < NF; i++) if ($i == "via") {
                hop = " " $(i + 1); sub(",", "", hop)
                # There are two at most.
                list[at] = hop < list[at] ? hop list[at] : list[at] hop
            }
        }
        # zebra may forget a next hop out of two whose interface has just come up.
        function fits(ours, said) { return ours == said || (at ~ /^b/ && ours != "" && index(said, ours)) }
        $1 == "==" { router = $2 }
        /^N / { at = router " " ($2 ~ /^[0-9]/ ? $2 : $3); match($0, /\[[0-9]+\]/); cost[at] = substr($0, RSTART + 1, RLENGTH - 2) }
        /^[0-9].* unicast / { at = router " " $1; match($0, /\/[0-9]+\)/); cost[at] = substr($0, RSTART + 1, RLENGTH - 2) }
        /^[0-9].* unicast / || /^[ \t]+via/ { hops(said) }
        /^[0-9d].* proto / { at = router " " $1; ours = / proto (ospf|bird) /; if (ours) hops(kernel) }
        /^[ \t]+nexthop/ && ours { hops(kernel) }
        END {
            for (at in said) print at, cost[at] said[at] (fits(kernel[at], said[at]) ? "" : ", kernel:" kernel[at])
            for (at in kernel) if (!(at in said)) print at ", kernel:" kernel[at]
        }' | sort
}
# What each has to have, by the link that is cut.
write_expected() {
    cat > /run/expected-none <<-END
	a 10.0.23.0/24 20 10.0.12.2 10.0.31.3
	a 10.2.0.0/24 15 10.0.12.2
	a 10.3.0.0/24 15 10.0.31.3
	b 10.0.31.0/24 20 10.0.12.1 10.0.23.3
	b 10.1.0.0/24 15 10.0.12.1
	b 10.3.0.0/24 15 10.0.23.3
	c 10.0.12.0/24 20 10.0.23.2 10.0.31.1
	c 10.1.0.0/24 15 10.0.31.1
	c 10.2.0.0/24 15 10.0.23.2
	END
    cat > /run/expected-ab <<-END
	a 10.0.23.0/24 20 10.0.31.3
	a 10.2.0.0/24 25 10.0.31.3
	a 10.3.0.0/24 15 10.0.31.3
	b 10.0.31.0/24 20 10.0.23.3
	b 10.1.0.0/24 25 10.0.23.3
	b 10.3.0.0/24 15 10.0.23.3
	c 10.1.0.0/24 15 10.0.31.1
	c 10.2.0.0/24 15 10.0.23.2
	END
    cat > /run/expected-bc <<-END
	a 10.2.0.0/24 15 10.0.12.2
	a 10.3.0.0/24 15 10.0.31.3
	b 10.0.31.0/24 20 10.0.12.1
	b 10.1.0.0/24 15 10.0.12.1
	b 10.3.0.0/24 25 10.0.12.1
	c 10.0.12.0/24 20 10.0.31.1
	c 10.1.0.0/24 15 10.0.31.1
	c 10.2.0.0/24 25 10.0.31.1
	END
    # Its ends are up, and a stub network of both.
    cat > /run/expected-ca <<-END
	a 10.0.23.0/24 20 10.0.12.2
	a 10.2.0.0/24 15 10.0.12.2
	a 10.3.0.0/24 25 10.0.12.2
	b 10.0.31.0/24 20 10.0.12.1 10.0.23.3
	b 10.1.0.0/24 15 10.0.12.1
	b 10.3.0.0/24 15 10.0.23.3
	c 10.0.12.0/24 20 10.0.23.2
	c 10.1.0.0/24 25 10.0.23.2
	c 10.2.0.0/24 15 10.0.23.2
	END
}
are_right() { tables > /run/tables; diff /run/expected-$1 /run/tables; }

write_expected
coati_up
frr_up /run/b.conf
bird_up c /run/c.conf
within 40 "routes of a whole ring" are_right none
ip -n b link set ab down
within 20 "without the link between Coati and FRR" are_right ab
# Each comes back when the next is cut.
ip -n b link set ab up
ip -n c link set bc down
within 20 "without the link between FRR and BIRD" are_right bc
ip -n c link set bc up
ip -n lan link set ca-c nomaster
within 40 "without the link between BIRD and Coati, cut in its middle" are_right ca
ip -n lan link set ca-c master ca
within 40 "whole again" are_right none
kill $COATI_PID; wait $COATI_PID; COATI_PID=
