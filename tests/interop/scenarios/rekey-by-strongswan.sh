# strongSwan renews both phases several times under a stream of pings, nothing is lost.

network
sed 's/reauth_time = .*/reauth_time = 12s\nover_time = 5s\nrand_time = 1s/
    s/life_time = .*/life_time = 10s/; s/rekey_time = .*/rekey_time = 6s\nrand_time = 0/' "$PEERS/swanctl.conf" > /run/swanctl.conf
gre_in_b
strongswan_up /run/swanctl.conf
coati_files "$SITES/seed/freebsd-a"
coati_up
pings a $A2 $B2 1
stream_of_pings 30
# On a machine that stood still meanwhile, the next one is on its way.
within 15 "ISAKMP SAs established: 3 or more" log_has 3 ISAKMP-SA.established
within 15 "IPsec SAs established: 4 pairs or more" log_has 8 IPsec-SA.established
# Nothing is left over: of the renewals, or of two sides that renew at the same time.
within 15 "strongSwan holds no more than two children" children_at_most 2
