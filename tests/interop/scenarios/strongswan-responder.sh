# strongSwan begins, Coati (passive) answers.

network
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^passive off;/passive on;/' /run/site/racoon.conf
coati_up
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
within 20 "pings from strongSwan's side are answered" in_b ping -n -c 1 -W 1 $A2
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as initiator" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i\* [0-9a-f]+_r' $WORK/sas
must "strongSwan: one child, INSTALLED, TRANSPORT" \
    test "$(grep -c 'INSTALLED, TRANSPORT, ESP:AES_CBC-128/HMAC_SHA1_96/MODP_1024' $WORK/sas)" = 1
pings a $A2 $B2 50
pings b $B2 $A2 50
