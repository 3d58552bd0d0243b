# Coati between FRR and BIRD, on the kernel's own interfaces: it is restarted gracefully, then killed, and no packet through
# its kernel is lost; then ended in order, and greets the neighbours that it had by their names.

LAN_C=10.3.0.1
hosts a b c
cable lan0 a 10.0.0.1 b 10.0.0.2
cable lan1 a 10.0.1.1 c 10.0.1.3
network_behind b $LAN_B
network_behind c $LAN_C
mkdir -p /run/site
cat > /run/site/frr.conf <<-END
	interface lan0
	 ip ospf hello-interval 3
	 ip ospf dead-interval 12
	 ip ospf priority 100
	interface lan1
	 ip ospf network point-to-point
	 ip ospf hello-interval 3
	 ip ospf dead-interval 12
	router ospf
	 ospf router-id 1.1.1.1
	 network 10.0.0.0/16 area 0
	 graceful-restart grace-period 60
END
COATI_FLAGS="--state /run/coati-ospf.json"
is_full() { test "$(coati show ip ospf neighbor | grep -c 'Full/')" = 2; }
everybody_has_routes() { has_ospf_route a 10.2.0.0/24 && has_ospf_route a 10.3.0.0/24 && has_ospf_route b 10.3.0.0/24 && has_ospf_route c 10.2.0.0/24; }
# restart_is_over: said by the program that runs since.
restart_is_over() { test "$(grep -c 'graceful restart is over: all adjacencies are back' $WORK/coati.log)" = $1; }
begin_pings() {
    ip netns exec b ping -n -I $LAN_B -i 0.05 -c $((20 * 60)) -W 5 $LAN_C > /run/restart-pings &
    PINGS=$!
    within 5 "pings through it" grep -q icmp_seq=5 /run/restart-pings
}
end_pings() {
    kill $PINGS; wait $PINGS
    sent=$(sed -n "s/.*icmp_seq=\([0-9]*\).*/\1/p" /run/restart-pings | tail -n 1)
    must "$1: all of $sent pings through it answered" all_answered /run/restart-pings $sent
}

coati_up
frr_up "$PEERS/graceful-frr.conf"
bird_up c "$PEERS/graceful-bird.conf"
within 60 "Full with FRR and BIRD" is_full
within 30 "routes on both sides" everybody_has_routes

begin_pings
must "Coati tells them" coati graceful-restart prepare ip ospf
kill $COATI_PID; wait $COATI_PID; COATI_PID=
must "its routes are there still" has_ospf_route a 10.3.0.0/24
must "FRR keeps its route" has_ospf_route b 10.3.0.0/24
coati_up
within 40 "the restart is over" restart_is_over 1
end_pings "planned"

begin_pings
kill -KILL $COATI_PID; wait $COATI_PID; COATI_PID=
coati_up
must "nobody expected it" log_has 1 'graceful restart (unplanned)'
within 40 "the restart is over" restart_is_over 2
end_pings "killed"

# FRR and BIRD take no instance that comes within a second of the one before.
is_calm() { coati show ip ospf database router self-originate | awk '/LS age/ { exit !($3 >= 2) }'; }
within 10 "its LSA is not new any more" is_calm
kill $COATI_PID; wait $COATI_PID; COATI_PID=
has_no_route() { ! has_ospf_route b 10.3.0.0/24 && ! has_ospf_route c 10.2.0.0/24; }
within 20 "ended in order, nobody has a route through it" has_no_route
coati_up
is_full_with_bird() { coati show ip ospf neighbor | grep 3.3.3.3 | grep -q 'Full/'; }
within 10 "Full with BIRD" is_full_with_bird
must "without having waited for its hello" log_has 1 'Nbr 3.3.3.3.*it answers our hello with a description'
within 60 "Full with FRR too" is_full
within 30 "routes on both sides" everybody_has_routes
