# Coati is killed with SIGKILL and started again: strongSwan drops what it had, and packets flow at once.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
coati_up
pings a $A2 $B2 10
kill -9 $COATI_PID
wait $COATI_PID
# Its peer goes on sending meanwhile, and nothing of that may come back in clear.
in_b ping -q -n -c 10 -i 0.1 -w 1 $A2 > /run/vain
must "nobody answers meanwhile" grep -q "100% packet loss" /run/vain
coati_up
within 5 "pings from Coati's side are answered again" in_a ping -n -c 1 -W 1 $B2
within 5 "pings from strongSwan's side are answered again" in_b ping -n -c 1 -W 1 $A2
pings a $A2 $B2 20
pings b $B2 $A2 20
swanctl --list-sas > $WORK/sas
must "strongSwan holds one ISAKMP SA: $(grep -c IKEv1 $WORK/sas)" test "$(grep -c IKEv1 $WORK/sas)" = 1
