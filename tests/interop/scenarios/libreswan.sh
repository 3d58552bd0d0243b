# libreswan with a pre-shared key, GRE in transport mode, group 5: either side begins.

network
gre_in_b
libreswan_up "$PEERS/libreswan.conf"
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^dh_group 2;/dh_group 5;/; s/^pfs_group 2;/pfs_group 5;/' /run/site/racoon.conf
coati_up
within 20 "Coati begins: pings are answered" in_a ping -n -c 1 -W 1 $B2
whack --status > $WORK/status
must "libreswan: main mode, as responder" grep -q STATE_MAIN_R3 $WORK/status
must "libreswan: quick mode, as responder" grep -q STATE_QUICK_R2 $WORK/status
pings a $A2 $B2 20
pings b $B2 $A2 20

sed -i 's/^passive off;/passive on;/' /run/site/racoon.conf
reload
whack --terminate --name site-a > /run/terminated 2>&1
whack --initiate --name site-a > /run/initiated 2>&1
within 20 "libreswan begins: pings are answered" in_b ping -n -c 1 -W 1 $A2
whack --status > $WORK/status
must "libreswan: main mode, as initiator" grep -q STATE_MAIN_I4 $WORK/status
must "libreswan: quick mode, as initiator" grep -q STATE_QUICK_I2 $WORK/status
pings a $A2 $B2 20
pings b $B2 $A2 20
