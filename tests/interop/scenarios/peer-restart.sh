# strongSwan is killed with SIGKILL and started again: its kernel has lost all SAs, as after a crash of the machine.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
coati_up
pings a $A2 $B2 10
kill -9 $CHARON_PID
wait $CHARON_PID
ip -n b xfrm state flush
ip -n b xfrm policy flush
strongswan_up "$PEERS/swanctl.conf"
within 5 "pings from strongSwan's side are answered again" in_b ping -n -c 1 -W 1 $A2
within 5 "pings from Coati's side are answered again" in_a ping -n -c 1 -W 1 $B2
pings a $A2 $B2 20
pings b $B2 $A2 20
