# FRR dies in the middle of an exchange of four hundred externals, comes back with fewer, stands still for longer than its
# dead interval: Coati's database is that of FRR again each time, and nothing stays behind. Externals go both ways, chosen by
# route maps and with their tags; BIRD has them over a link with TTL security, whose own network nobody is told of.

hosts a b c
cable ab a 10.0.0.1 b 10.0.0.2
cable ac a 10.0.1.1 c 10.0.1.3
network_behind a $LAN_A
network_behind c 10.3.0.1
# FRR has what Coati is to have, and one that its route map leaves out.
routes() { # so many
    i=0
    while [ $i -lt $1 ]; do
        echo "route add blackhole 172.16.$((i / 256)).$((i % 256))/32"
        i=$((i + 1))
    done
}
{ routes 400; echo "route add blackhole 172.20.0.0/16"; } | ip -n b -batch -
ip -n a route add blackhole 192.168.1.0/24
ip -n a route add blackhole 192.168.2.0/24
# So slow that an exchange takes seconds.
slowly() { ip netns exec b tc qdisc $1 dev ab root tbf rate 40kbit burst 3000 latency 10s; }

mkdir -p /run/site
cat > /run/site/frr.conf <<-END
	interface ab
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	interface ac
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	 ip ospf prefix-suppression
	 ip ospf ttl-security
	ip prefix-list some seq 5 permit 192.168.1.0/24
	route-map some permit 10
	 match ip address prefix-list some
	 set tag 77
	 set metric 33
	 set metric-type type-1
	router ospf
	 ospf router-id 1.1.1.1
	 network 10.0.0.0/8 area 0
	 passive-interface em1
	 redistribute kernel route-map some
END
cat > /run/b.conf <<-END
	interface ab
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	ip prefix-list some seq 5 permit 172.16.0.0/16 ge 32
	route-map some permit 10
	 match ip address prefix-list some
	 set tag 42
	router ospf
	 ospf router-id 2.2.2.2
	 network 10.0.0.0/8 area 0
	 redistribute kernel route-map some
END
bird_conf() { # what is said of the link with Coati
    cat <<-END
	router id 3.3.3.3;
	protocol device {}
	protocol kernel { ipv4 { export where source ~ [ RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, RTS_OSPF_EXT2 ]; }; }
	protocol ospf v2 links {
	    area 0 {
	        interface "ac" { type ptp; hello 1; dead 4; $1 };
	        interface "em1" { stub; };
	    };
	}
	END
}
# How many externals of FRR's are in Coati's database, dying ones aside.
externals() { coati show ip ospf database | grep -c ' 2[.]2[.]2[.]2 .* 172[.]16[.]'; }
frr_has() { vtysh show ip ospf | grep -q "Number of external LSA $1[.]"; }
is_in_the_middle() { coati show ip ospf neighbor | grep -Eq '^2[.]2[.]2[.]2 .*(Exchange|Loading)/' && [ "$(externals)" -gt ${1:-0} ]; }
is_gone() { ! coati show ip ospf neighbor | grep -q '^2[.]2[.]2[.]2 '; }
# Both databases: kind, id and router of every LSA that is not dying.
same_databases() {
    keys='/ States/ { kind = $1 $2 } /^[0-9]/ && $3 != 3600 { print kind, $1, $2, $4 }'
    coati show ip ospf database | awk "$keys" | sort > /run/database-a
    vtysh show ip ospf database | awk "$keys" | sort > /run/database-b
    diff /run/database-a /run/database-b && [ "$(externals)" = $1 ]
}
kernel_has() { ip -n a route show proto ospf | grep -c '^172[.]16[.]' > /run/count; cat /run/count; [ "$(cat /run/count)" = $1 ]; }
has_all() { same_databases $1 && kernel_has $1; }

bird_conf > /run/c.conf
bird_up c /run/c.conf
# The link comes up when there is something to exchange.
ip -n b link set ab down
slowly add
coati_up
frr_up /run/b.conf
within 40 "FRR has its externals" frr_has 400
ip -n b link set ab up
within 40 "in the middle of an exchange" is_in_the_middle 50
fact "$(externals) externals are there"
kill -9 $(cat /run/frr/ospfd.pid)
ip netns exec b tc qdisc del dev ab root
within 20 "FRR is gone" is_gone
must "no route of FRR's is in the kernel" kernel_has 0
routes 200 | sed 's/add/del/' | ip -n b -batch -
frr_daemon ospfd
within 60 "it is back with two hundred externals, and no more" has_all 200

# It stands still in the middle, for longer than the dead interval.
ip -n b link set ab down
within 20 "the link is down" is_gone
slowly add
ip -n b link set ab up
within 40 "in the middle of an exchange" is_in_the_middle
kill -STOP $(cat /run/frr/ospfd.pid)
within 20 "FRR stands still and is gone" is_gone
ip netns exec b tc qdisc del dev ab root
kill -CONT $(cat /run/frr/ospfd.pid)
within 60 "it goes on, and has its two hundred" has_all 200

has_tag() { coati show ip ospf route | grep -q '^N E2 172.16.1.0/32 .*tag: 42'; }
must "FRR's tag at Coati" has_tag
left_out() { ! coati show ip ospf database external | grep -E '172[.]20|192[.]168[.]2'; }
must "what route maps leave out is nowhere" left_out
has_coatis() { vtysh show ip ospf route | grep -Eq '^N E1 192.168.1.0/24 .*\[43\] tag: 77'; }
within 10 "Coati's external at FRR, of type 1, with its tag" has_coatis

# BIRD sends with TTL 1 so far.
is_no_neighbour() { ! coati show ip ospf neighbor | grep '^3[.]3'; }
must "BIRD is no neighbour without TTL security" is_no_neighbour
bird_conf 'ttl security yes;' > /run/c.conf
birdc configure > /dev/null
bird_has() { birdc show route all "$1" | grep -q "$2"; }
within 20 "BIRD has Coati's external and its tag" bird_has 192.168.1.0/24 'tag: 0x0000004d'
within 20 "and FRR's" bird_has 172.16.1.0/32 'tag: 0x0000002a'
within 20 "FRR has the network behind BIRD" has_ospf_route b 10.3.0.0/24
is_suppressed() { ! vtysh show ip ospf database router 1.1.1.1 | grep 'Net: 10[.]0[.]1[.]0' && vtysh show ip ospf database router 1.1.1.1 | grep 'Net: 10[.]0[.]0[.]0'; }
must "Coati does not advertise the network of that link" is_suppressed
kill $COATI_PID; wait $COATI_PID; COATI_PID=
