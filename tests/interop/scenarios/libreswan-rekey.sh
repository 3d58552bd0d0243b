# libreswan renews both phases under a stream of pings, nothing is lost; then it stops answering, DPD finds out, and it is met again.

network
sed 's/ikelifetime=.*/ikelifetime=16s/; s/salifetime=.*/salifetime=10s/; s/dpddelay=.*/dpddelay=3/; s/dpdtimeout=.*/dpdtimeout=9/
    s/pfs=yes/&\n\trekeymargin=5s\n\trekeyfuzz=0%/' "$PEERS/libreswan.conf" > /run/libreswan.conf
libreswan_up /run/libreswan.conf
gre_in_b
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^dh_group 2;/dh_group 5;/; s/^pfs_group 2;/pfs_group 5;/; s/^passive off;/passive on;/
    s/^dpd_delay .*/dpd_delay 1;\ndpd_retry 1;/' /run/site/racoon.conf
coati_up
whack --initiate --name site-a > /run/initiated 2>&1
within 10 "libreswan begins: pings are answered" in_b ping -n -c 1 -W 1 $A2
stream_of_pings 15
within 15 "ISAKMP SAs established: 2 or more" log_has 2 ISAKMP-SA.established
within 15 "IPsec SAs established: 3 pairs or more" log_has 6 IPsec-SA.established
must "libreswan's DPD has had its answers" sh -c "! grep -i 'DPD.*timed out' $WORK/pluto.log"

sed -i 's/^passive on;/passive off;/' /run/site/racoon.conf
reload
kill -STOP $PLUTO_PID
within 15 "Coati: dead" log_has 1 "seems to be dead"
coati status > $WORK/status-dead
kill -CONT $PLUTO_PID
within 20 "pings from Coati's side are answered again" in_a ping -n -c 1 -W 1 $B2
pings a $A2 $B2 10
pings b $B2 $A2 10
