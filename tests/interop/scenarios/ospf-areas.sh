# Coati is area border router between FRR in the backbone and BIRD in a not-so-stubby area, whose external it translates.

LAN_C=10.3.0.1
for host in a b c; do ip netns add $host; done
ip link add lan0 netns a type veth peer name lan0 netns b
ip link add lan1 netns a type veth peer name lan1 netns c
for host in b c; do
    ip -n $host link add em1 type veth peer name em1-end
    for link in lo em1 em1-end; do ip -n $host link set $link up; done
done
ip -n a -batch - <<-END
	addr add 10.0.0.1/24 dev lan0
	addr add 10.0.1.1/24 dev lan1
	link set lo up
	link set lan0 up
	link set lan1 up
END
ip -n b -batch - <<-END
	addr add 10.0.0.2/24 dev lan0
	addr add $LAN_B/24 dev em1
	link set lan0 up
END
ip -n c -batch - <<-END
	addr add 10.0.1.3/24 dev lan1
	addr add $LAN_C/24 dev em1
	link set lan1 up
END
mkdir -p /run/site
cat > /run/site/frr.conf <<-END
	interface lan0
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	interface lan1
	 ip ospf hello-interval 1
	 ip ospf dead-interval 4
	router ospf
	 ospf router-id 1.1.1.1
	 network 10.0.0.0/24 area 0
	 network 10.0.1.0/24 area 1
	 area 1 nssa
	 area 1 range 10.3.0.0/16
END
coati_up
frr_up "$PEERS/areas-frr.conf"
bird_up c "$PEERS/areas-bird.conf"
within 40 "BIRD's network, as its range, in FRR's kernel" has_ospf_route b 10.3.0.0/16
within 20 "FRR's network in BIRD's kernel" has_ospf_route c 10.2.0.0/24
within 20 "BIRD's external in FRR's kernel, translated" has_ospf_route b 172.30.0.0/16
within 20 "and in Coati's" has_ospf_route a 172.30.0.0/16
within 20 "FRR's default route in Coati's kernel" has_ospf_route a default
is_hidden() { ! has_ospf_route c default && ! vtysh show ip ospf route | grep -q "10.3.0.0/24"; }
must "externals do not go into the area, nor its networks out of it" is_hidden
throws_away() { ip -n a route show 10.3.0.0/16 | grep -q blackhole; }
must "Coati throws away what goes to a hole in the range" throws_away
is_translated() { vtysh show ip ospf database external | grep -A1 "172.30.0.0" | grep -q "Advertising Router: 1.1.1.1"; }
must "the external is Coati's for FRR" is_translated
fact "$(coati show ip ospf border-routers)"
# The external goes when BIRD goes.
birdc down > /dev/null
no_route() { ! has_ospf_route b 172.30.0.0/16; }
within 15 "FRR has dropped the external" no_route
kill $COATI_PID; wait $COATI_PID; COATI_PID=
