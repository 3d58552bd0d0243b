# strongSwan renews both phases several times under a stream of pings, nothing is lost.

network
sed 's/reauth_time = .*/reauth_time = 12s\nover_time = 5s\nrand_time = 1s/
    s/life_time = .*/life_time = 12s/; s/rekey_time = .*/rekey_time = 6s\nrand_time = 0/' "$PEERS/swanctl.conf" > /run/swanctl.conf
strongswan_up /run/swanctl.conf
coati_files "$SITES/seed/freebsd-a"
coati_up
gre_in_b
pings a $A2 $B2 1
stream_of_pings 30
renewed() { grep -c "$1" $WORK/coati.log; }
must "ISAKMP SAs established: $(renewed ISAKMP-SA.established)" test "$(renewed ISAKMP-SA.established)" -ge 3
must "IPsec SAs established: $(renewed IPsec-SA.established)" test "$(renewed IPsec-SA.established)" -ge 8
swanctl --list-sas > $WORK/sas
must "strongSwan holds no more than two children: $(grep -c 'gre: #' $WORK/sas)" test "$(grep -c 'gre: #' $WORK/sas)" -le 2
