# A NAT between Coati and strongSwan: ESP in UDP, keepalives, and another port of the NAT while pings run; then the same with the kernel as data plane, told over netlink and over PF_KEY.

. "$TREE/guest/kernel.sh"
NAT=198.51.100.254
# nat PORT OLD: the NAT has this port for Coati's port 4500; the one that it had goes. Nothing passes untranslated meanwhile.
nat() {
    tc -n internet -batch - <<-END
	filter add dev to-b egress protocol ip pref $1 u32 match ip src $A1 match ip protocol 17 0xff match ip sport 4500 0xffff action pedit ex munge udp sport set $1 pipe action csum udp pipe action nat egress $A1/32 $NAT
	filter add dev to-b ingress protocol ip pref $1 u32 match ip dst $NAT match ip protocol 17 0xff match ip dport $1 0xffff action pedit ex munge udp dport set 4500 pipe action csum udp pipe action nat ingress $NAT/32 $A1
	END
    [ -z "$2" ] || tc -n internet -batch - <<-END
	filter del dev to-b egress protocol ip pref $2
	filter del dev to-b ingress protocol ip pref $2
	END
}

children_at_least() { test "$(swanctl --list-sas | grep -c 'gre: #')" -ge "$1"; }

network
tc -n internet -batch - <<-END
	qdisc add dev to-b clsact
	filter add dev to-b egress protocol ip pref 65000 u32 match ip src $A1 action nat egress $A1/32 $NAT
	filter add dev to-b ingress protocol ip pref 65000 u32 match ip dst $NAT match ip protocol 17 0xff match ip dport 500 0xffff action nat ingress $NAT/32 $A1
	END
nat 20002
sed "s/remote_addrs = .*/remote_addrs = $NAT/; s/start_action = .*/start_action = none/" "$PEERS/swanctl.conf" > /run/swanctl.conf
gre_in_b $NAT
strongswan_up /run/swanctl.conf
coati_files "$SITES/seed/freebsd-a"
sed -i '1i timer { natt_keepalive 1 sec; }
    s/^exchange_mode main;/&\nnat_traversal on;/' /run/site/racoon.conf
coati_up
within 20 "through the NAT: pings are answered" in_a ping -n -c 1 -W 1 $B2
swanctl --list-sas > $WORK/sas
must "strongSwan sees the NAT's port" grep -q "remote '192.0.2.1' @ $NAT\[20002\]" $WORK/sas
must "strongSwan: one child, INSTALLED, TRANSPORT-in-UDP" \
    test "$(grep -c 'INSTALLED, TRANSPORT-in-UDP, ESP:AES_CBC-128/HMAC_SHA1_96' $WORK/sas)" = 1
pings a $A2 $B2 20
pings b $B2 $A2 20
sleep 3
keepalives=$(tcpdump -n -r $WORK/internet.pcap src $A1 and udp port 4500 and 'udp[4:2] = 9' | wc -l)
must "keepalives while nothing else is sent: $keepalives" test "$keepalives" -ge 2

in_a ping -n -I $A2 -i 0.05 -c 100 -W 5 $B2 > /run/rebound &
PING=$!
sleep 2
nat 20001 20002
wait $PING
must "strongSwan follows to the NAT's other port: $(in_short /run/rebound)" all_answered /run/rebound 90
pings b $B2 $A2 20
must "strongSwan renews through it" swanctl --rekey --child gre
pings b $B2 $A2 20
pings a $A2 $B2 20
within 10 "strongSwan has the new child" children_at_least 2

module af_key
old=20001
for home in xfrm:20003 pfkey:20005; do
    new=${home#*:} home=${home%:*}
    kill $COATI_PID
    wait $COATI_PID
    COATI_FLAGS="--dataplane $home"
    coati_up
    within 20 "with $home: pings are answered" in_a ping -n -c 1 -W 1 $B2
    must "with $home: the kernel puts ESP in UDP, both ways" test "$(ip -n a xfrm state | grep -c 'type espinudp sport 4500 dport 4500')" -ge 2
    nat $new $old
    old=$new
    within 10 "with $home: strongSwan follows to the NAT's other port" in_a ping -n -c 1 -W 1 $B2
    pings a $A2 $B2 20
    pings b $B2 $A2 20
done
