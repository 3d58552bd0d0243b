# IPComp before ESP with strongSwan and the kernel's DEFLATE, begun from either side: smaller packets, no loss.

network
sed 's/mode = transport/&\n				ipcomp = yes/' "$PEERS/swanctl.conf" > /run/compress.conf
gre_in_b
strongswan_up /run/compress.conf
coati_files "$SITES/seed/freebsd-a"
sed 's,esp/transport,ipcomp/transport//use &,' "$SITES/seed/freebsd-a/setkey.conf" > /run/site/setkey.conf
coati_up
ln -s "$COATI" /run/setkey

# large NAME FROM TO NAMESPACE: packets that shrink, and what they cost.
large() {
    ip netns exec "$4" ping -n -I "$2" -i 0.05 -c 25 -W 5 -s 1300 -p 61 "$3" > /run/ping
    must "$1: $(in_short /run/ping)" all_answered /run/ping 20
}

check() {
    in_a /run/setkey -s /run/coati.sock -D > $WORK/setkey-$1
    must "setkey -D: IPComp both ways" test "$(grep -c 'C: deflate ' $WORK/setkey-$1)" -ge 2
    ip -n b -s xfrm state > $WORK/xfrm-$1
    must "the kernel: IPComp both ways" test "$(grep -c 'comp deflate' $WORK/xfrm-$1)" -ge 2
    swanctl --list-sas > $WORK/sas-$1
    must "strongSwan: compression is agreed upon" grep -Eq "in +[0-9a-f]{8}/[0-9a-f]{4}," $WORK/sas-$1
}

large "Coati begins" $A2 $B2 a
check first
coati status --json > $WORK/status
must "Coati has begun, once" test "$(grep -c 'initiate new phase 2' $WORK/coati.log)" = 1
must "Coati has compressed and inflated" \
    sh -c "tr -d ' \n' < $WORK/status | grep -q '\"ipcomp-compressed\",[1-9]' && tr -d ' \n' < $WORK/status | grep -q '\"ipcomp-inflated\",[1-9]'"

must "strongSwan ends everything" swanctl --terminate --ike site-a
within 10 "Coati has heard of it" log_has 1 'the peer has deleted it'
# The kernel behind strongSwan throws the packet away that asks for keys.
in_b ping -n -c 1 -W 5 $A2 > /run/first
large "strongSwan begins" $B2 $A2 b
check second

# 1300 bytes of one letter fit in a packet of less than 200.
sizes=$(tcpdump -n -r $WORK/internet.pcap 'ip proto 50 and greater 300' 2>> $WORK/stderr.log | wc -l)
must "no packet of these on the internet is larger than 300 bytes ($sizes are)" test "$sizes" = 0
