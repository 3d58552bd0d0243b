# Aggressive mode with strongSwan, names as identities: either side begins.

network
sed -e 's/aggressive = .*//; s/version = 1/&\n\t\taggressive = yes/' -e 's/id = 198.51.100.1$/id = b.example/; s/id = 192.0.2.1$/id = a.example/' \
    "$PEERS/swanctl.conf" > /run/swanctl.conf
gre_in_b
strongswan_up /run/swanctl.conf
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^exchange_mode main;/exchange_mode aggressive;\
my_identifier fqdn "a.example";\
peers_identifier fqdn "b.example";\
verify_identifier on;/' /run/site/racoon.conf
sed -i 's/^198.51.100.1 /b.example /' /run/site/psk.txt
coati_up
within 20 "Coati begins: pings are answered" in_a ping -n -c 1 -W 1 $B2
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as responder" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i [0-9a-f]+_r\*' $WORK/sas
must "strongSwan knows Coati by its name" grep -q "remote 'a.example'" $WORK/sas
pings a $A2 $B2 10

sed -i 's/^passive off;/passive on;/' /run/site/racoon.conf
reload
swanctl --terminate --ike site-a > /run/terminated 2>&1
within 20 "strongSwan begins: pings are answered" in_b ping -n -c 1 -W 1 $A2
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as initiator" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i\* [0-9a-f]+_r' $WORK/sas
pings b $B2 $A2 10
tshark=$(tcpdump -n -r $WORK/internet.pcap -v udp port 500 2>/dev/null | grep -c 'phase 1.*agg')
must "the exchanges were aggressive: $tshark messages" test "$tshark" -ge 6
