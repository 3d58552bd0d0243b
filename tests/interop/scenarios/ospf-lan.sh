# A LAN with Coati, FRR and BIRD on it, authenticated by MD5: Coati is designated router, then neither that nor backup,
# then has an area of its own behind it.

LAN_C=10.3.0.1
ip netns add lan
ip -n lan link add br0 type bridge mcast_snooping 0
ip -n lan link set br0 up
for host in a b c; do
    ip netns add $host
    ip link add lan0 netns $host type veth peer name to-$host netns lan
    ip -n lan link set to-$host master br0 up
    ip -n $host link add em1 type veth peer name em1-end
    for link in lo lan0 em1 em1-end; do ip -n $host link set $link up; done
done
ip -n a -batch - <<-END
	addr add 10.0.0.1/24 dev lan0
	addr add $LAN_A/24 dev em1
	addr add 10.255.0.1/32 dev lo
END
ip -n b -batch - <<-END
	addr add 10.0.0.2/24 dev lan0
	addr add $LAN_B/24 dev em1
END
ip -n c -batch - <<-END
	addr add 10.0.0.3/24 dev lan0
	addr add $LAN_C/24 dev em1
END

# coati_conf PRIORITY AREA: its file; AREA is that of em1.
coati_conf() {
    mkdir -p /run/site
    cat > /run/site/frr.conf <<-END
	interface lan0
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	 ip ospf priority $1
	 ip ospf authentication message-digest
	 ip ospf message-digest-key 1 md5 geheim
	interface em1
	 ip ospf area $2
	router ospf
	 ospf router-id 1.1.1.1
	 network 10.0.0.0/24 area 0
	 network 10.255.0.1/32 area 0
	 network 10.4.0.0/16 area 0
	 passive-interface em1
	END
}
is_full_with() { coati show ip ospf neighbor | grep "$1" | grep -q "Full/$2"; }
is_state() { coati show ip ospf interface lan0 | grep -q "State $1,"; }
everybody_has_routes() {
    has_ospf_route a 10.2.0.0/24 && has_ospf_route a 10.3.0.0/24 &&
        has_ospf_route b 10.1.0.0/24 && has_ospf_route b 10.3.0.0/24 &&
        has_ospf_route c 10.1.0.0/24 && has_ospf_route c 10.2.0.0/24
}
stop_coati() { kill $COATI_PID; wait $COATI_PID; COATI_PID=; }

coati_conf 100 0
coati_up
within 10 "alone: designated router" is_state DR
frr_up "$PEERS/lan-frr.conf"
bird_up c "$PEERS/lan-bird.conf"
within 40 "Full with FRR" is_full_with 2.2.2.2
within 40 "Full with BIRD" is_full_with 3.3.3.3
within 40 "routes on all three" everybody_has_routes
must "Coati is designated router" is_state DR
has_loopback() { has_ospf_route b 10.255.0.1 && has_ospf_route c 10.255.0.1; }
within 10 "Coati's loopback address at FRR and BIRD" has_loopback
# A second address of the LAN's interface, while it runs.
ip -n a addr add 10.4.0.1/24 dev lan0
has_second() { has_ospf_route b 10.4.0.0/24 && has_ospf_route c 10.4.0.0/24; }
within 10 "a further address's network at FRR and BIRD" has_second
ip -n a addr del 10.4.0.1/24 dev lan0
has_no_second() { ! has_ospf_route b 10.4.0.0/24 && ! has_ospf_route c 10.4.0.0/24; }
within 10 "it goes with its address" has_no_second
is_undisturbed() { [ "$(grep -c "lan0.*Full" $WORK/coati.log)" = 2 ] && is_full_with 2.2.2.2 && is_full_with 3.3.3.3; }
must "neither made a neighbour begin anew" is_undisturbed
fact "$(coati show ip ospf neighbor | tail -n 3)"
stop_coati
no_route() { ! has_ospf_route b 10.1.0.0/24 && ! has_ospf_route c 10.1.0.0/24; }
within 20 "its end is told" no_route
coati_conf 0 1
coati_up
within 40 "neither designated router nor backup" is_state DROther
within 40 "routes on all three, from an area of its own" everybody_has_routes
is_inter_area() { vtysh show ip ospf route | grep -q "N IA 10.1.0.0/24"; }
must "FRR: the network behind Coati is in another area" is_inter_area
stop_coati
