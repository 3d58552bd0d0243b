# Everything of Coati's in a; in b strongSwan keys the kernel's ESP, and FRR is the OSPF neighbour.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
frr_up "$PEERS/frr.conf"
coati_files "$SITES/seed/freebsd-a"
coati_up
coati_is_full() { coati show ip ospf neighbor | grep 203.0.113.2 | grep -q Full/; }
within 25 "Coati: Full" coati_is_full
within 25 "FRR: Full" frr_is_full 203.0.113.1
within 25 "Coati's route to LAN B in the kernel" has_ospf_route a 10.2.0.0/24
within 25 "FRR's route to LAN A in the kernel" has_ospf_route b 10.1.0.0/24
pings a $LAN_A $LAN_B 20
pings b $LAN_B $LAN_A 20
fact "$(coati show ip ospf route | grep -A1 10.2.0.0)"
# An orderly end is told: the neighbour does not wait for its dead interval.
kill $COATI_PID; wait $COATI_PID; COATI_PID=
no_route_in_b() { ! has_ospf_route b 10.1.0.0/24; }
within 8 "FRR has dropped the route" no_route_in_b
