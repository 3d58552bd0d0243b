# Coati begins, strongSwan answers; ESP and GRE of the kernel behind strongSwan.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
coati_up
now; began=$NOW
in_a ping -n -c 1 -W 20 $B2 > /run/first
now
must "first ping into the cold tunnel answered ($((NOW - began)) hundredths of a second, $(grep -o 'time=.*' /run/first))" \
    grep -q "1 received" /run/first
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as responder" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i [0-9a-f]+_r\*' $WORK/sas
must "strongSwan: AES_CBC-128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024" \
    grep -q 'AES_CBC-128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024' $WORK/sas
must "strongSwan: one child, INSTALLED, TRANSPORT" \
    test "$(grep -c 'INSTALLED, TRANSPORT, ESP:AES_CBC-128/HMAC_SHA1_96/MODP_1024' $WORK/sas)" = 1
pings a $A2 $B2 50
pings b $B2 $A2 50
