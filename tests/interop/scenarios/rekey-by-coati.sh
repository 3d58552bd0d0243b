# Coati renews both phases several times under a stream of pings, nothing is lost.

network
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^lifetime time 8 hour;/lifetime time 15 sec;/; s/^lifetime time 4 hour;/lifetime time 8 sec;/' /run/site/racoon.conf
coati_up
gre_in_b
pings a $A2 $B2 1
stream_of_pings 30
renewed() { grep -c "$1" $WORK/coati.log; }
must "ISAKMP SAs established: $(renewed ISAKMP-SA.established)" test "$(renewed ISAKMP-SA.established)" -ge 3
must "IPsec SAs established: $(renewed IPsec-SA.established)" test "$(renewed IPsec-SA.established)" -ge 8
swanctl --list-sas > $WORK/sas
must "strongSwan holds no more than two children: $(grep -c 'gre: #' $WORK/sas)" test "$(grep -c 'gre: #' $WORK/sas)" -le 2
