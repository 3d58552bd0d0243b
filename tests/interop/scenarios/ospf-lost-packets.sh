# Between Coati and FRR the path swallows what Coati sends by multicast, and later the system does not take what it sends:
# the adjacency comes up by unicast, outlives a socket whose buffer is full, and goes back to multicast when that gets through.

hosts a b
cable ab a 10.0.0.1 b 10.0.0.2
network_behind b $LAN_B
mkdir -p /run/site
coati_conf() { # how many static routes
    printf 'interface ab\n ip ospf network point-to-point\n ip ospf hello-interval 1\n ip ospf dead-interval 6\n'
    printf 'router ospf\n ospf router-id 1.1.1.1\n network 10.0.0.0/24 area 0\n redistribute static\n'
    i=0
    while [ $i -lt $1 ]; do
        echo "ip route 172.16.$((i / 256)).$((i % 256))/32 Null0"
        i=$((i + 1))
    done
}
cat > /run/b.conf <<-END
	interface ab
	 ip ospf network point-to-point
	 ip ospf hello-interval 1
	 ip ospf dead-interval 6
	router ospf
	 ospf router-id 2.2.2.2
	 timers throttle spf 0 50 500
	 network 10.0.0.0/24 area 0
	 network 10.2.0.0/24 area 0
	 passive-interface em1
END
tc_a() { ip netns exec a tc "$@"; }
by_unicast() { coati show ip ospf interface ab | grep -q 'Multicast does not get through: packets go to 10[.]0[.]0[.]2'; }
by_multicast() { ! by_unicast; }
has_statics() { ip -n b route | grep -c 'proto ospf' > /run/statics; cat /run/statics; [ $(cat /run/statics) = $1 ]; }
# How many packets the system has not taken, as `status` counts them.
unsent() { coati status | sed -n 's/.*packets that the system did not take[^0-9]*\([0-9]*\).*/\1/p'; }

frr_up /run/b.conf
coati_conf 1 > /run/site/frr.conf
tc_a qdisc add dev ab clsact
tc_a filter add dev ab egress protocol ip u32 match ip dst 224.0.0.5/32 action drop
# Coati's sockets hold two packets.
buffer=$(cat /proc/sys/net/core/wmem_default)
echo 4608 > /proc/sys/net/core/wmem_default
coati_up
within 30 "FRR: Full by unicast" frr_is_full 1.1.1.1
echo $buffer > /proc/sys/net/core/wmem_default
must "Coati says so" by_unicast
within 10 "its route in FRR's kernel" has_statics 1
tc_a filter del dev ab egress

tc_a qdisc add dev ab root tbf rate 40kbit burst 3000 latency 10s
coati_conf 400 > /run/site/frr.conf
reload
within 10 "packets do not leave" log_has 1 'OSPF on ab: packets do not leave'
within 40 "FRR has all routes for all that" has_statics 400
tc_a qdisc del dev ab root
must "they are counted" [ "$(unsent)" -gt 0 ]
within 30 "packets leave again" log_has 1 'OSPF on ab: packets leave again'
within 60 "multicast is used again" by_multicast
must "FRR is Full" frr_is_full 1.1.1.1
must "and was all the time" sh -c "! grep 'Full -> ' $WORK/coati.log"
