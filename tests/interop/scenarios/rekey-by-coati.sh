# Coati renews both phases several times under a stream of pings, nothing is lost.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^lifetime time 8 hour;/lifetime time 15 sec;/; s/^lifetime time 4 hour;/lifetime time 8 sec;/' /run/site/racoon.conf
coati_up
pings a $A2 $B2 1
stream_of_pings 30
# On a machine that stood still meanwhile, the next one is on its way.
within 15 "ISAKMP SAs established: 3 or more" log_has 3 ISAKMP-SA.established
within 15 "IPsec SAs established: 4 pairs or more" log_has 8 IPsec-SA.established
# Nothing is left over: of the renewals, or of two sides that renew at the same time.
within 15 "strongSwan holds no more than two children" children_at_most 2
