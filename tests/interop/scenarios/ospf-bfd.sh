# BFD sessions with FRR and then with BIRD: an internet that silently takes no more packets ends adjacency and routes within a second and a half, not after forty.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
sed 's/^interface gre0$/&\n ip ospf bfd/; s/^exit$//' "$PEERS/frr.conf" > /run/frr-bfd.conf
FRR_DAEMONS="zebra bfdd ospfd" frr_up /run/frr-bfd.conf
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^interface gre0$/&\n ip ospf bfd 3 100 100/' /run/site/ospfd.conf
coati_up

bfd_is_up() { coati show bfd peers | grep -q 'Status: up'; }
bfd_of_frr_is_up() { vtysh show bfd peers | grep -q 'Status: up'; }
has_route() { has_ospf_route a 10.2.0.0/24; }
has_no_route() { ! has_ospf_route a 10.2.0.0/24; }
has_no_route_in_b() { ! has_ospf_route b 10.1.0.0/24; }
# The internet swallows what it should carry; links stay as they are.
swallow() { ip -n internet route $1 blackhole $A1/32; ip -n internet route $1 blackhole $B1/32; }
cut() { # peer's name
    # Under load the kernel takes seconds for that.
    swallow add
    now; cut=$NOW
    within 5 "Coati has no route any more" has_no_route
    now; took=$((NOW - cut))
    must "in less than one and a half seconds: $((took * 10)) ms" test $took -lt 150
    # BIRD computes its table when its ticks allow it.
    within 8 "nor has $1" has_no_route_in_b
    must "the log says why" log_has $2 'AdjChg: .* -> Down (BFD says so)'
    swallow del
    within 60 "the route is back" has_route
}

within 25 "a route through FRR" has_route
within 10 "a BFD session with FRR" bfd_is_up
within 10 "FRR sees it too" bfd_of_frr_is_up
fact "$(coati show bfd peers brief | tail -n 1 | tr -s ' ')"
cut FRR 1
within 10 "the session is up again" bfd_is_up
# A session that is switched off at the other end is no failure of the path (RFC 5882 section 3.2).
must "FRR wants no session any more" in_b vtysh --vty_socket /run/frr --config_dir /run/frr \
    -c 'configure terminal' -c 'interface gre0' -c 'no ip ospf bfd'
bfd_is_down() { coati show bfd peers | grep -q 'Status: down'; }
within 5 "Coati hears that" bfd_is_down
must "the adjacency stays" has_route
must "nothing of it in the log" test "$(grep -c 'Down (BFD says so)' $WORK/coati.log)" = 1
kill $(cat /run/frr/ospfd.pid /run/frr/bfdd.pid /run/frr/zebra.pid)
within 60 "FRR is gone" has_no_route

sed 's/type ptp;/type ptp; bfd on;/' "$PEERS/bird.conf" > /run/bird-bfd.conf
echo 'protocol bfd { interface "gre0" { interval 100 ms; multiplier 3; }; }' >> /run/bird-bfd.conf
bird_up b /run/bird-bfd.conf
within 60 "a route through BIRD" has_route
within 10 "a BFD session with BIRD" bfd_is_up
bfd_of_bird_is_up() { birdc show bfd sessions | grep 203.0.113.1 | grep -q Up; }
within 10 "BIRD sees it too" bfd_of_bird_is_up
# It begins with a packet a second.
is_quick() { test $(coati show bfd peers | grep -c 'Transmission interval: 100ms') = 2; }
within 10 "BIRD sends as often as agreed" is_quick
cut BIRD 2
