# With --debug-keys tshark decrypts what was said: quick mode, the notifications, and what is inside ESP. Without, no key is written.

# sees TEXT LEAST PATTERN: so many packets at the least of which tshark's line has this.
sees() { count=$(grep -c "$3" $WORK/decrypted); must "tshark sees $1: $count" test "$count" -ge $2; }

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
mkdir -m 755 /run/open
must "a folder that others can read is refused" \
    sh -c "! ip netns exec a '$COATI' up /run/site --socket /run/coati.sock --log $WORK/refused.log --debug-keys /run/open"
COATI_FLAGS="--debug-keys /run/keys"
coati_up
pings a $A2 $B2 20
coati status > $WORK/status
must "coati status warns" grep -q -- '--debug-keys: every key is written to /run/keys' $WORK/status
must "the log warns" grep -q 'WARNING: --debug-keys: every key is written to /run/keys' $WORK/coati.log
must "for the owner only" test "$(stat -c %a /run/keys /run/keys/ikev1_decryption_table /run/keys/esp_sa | tr '\n' ' ')" = "700 600 600 "
sleep 0.5
cp /run/keys/* $WORK/
WIRESHARK_CONFIG_DIR=/run/keys tshark -r $WORK/internet.pcap -T fields -E 'separator=|' -e isakmp.exchangetype -e isakmp.hash \
    -e isakmp.prop.protoid -e isakmp.id.data.ipv4_addr -e isakmp.notify.msgtype -e esp.spi -e gre.proto -e ip.dst -e icmp.type \
    > $WORK/decrypted 2>> $WORK/tshark.stderr
sees "proposals and identities of quick mode" 2 "^32|[0-9a-f]*|3|$A1,$B1|"
sees "identity and hash in main mode's last messages" 2 "^2|[0-9a-f]\{40\}||[0-9.]*|"
sees "INITIAL-CONTACT" 1 '|24578|'
sees "pings inside GRE inside ESP" 20 "|0x[0-9a-f]*|0x0800|$B1,$B2|8$"

kill $COATI_PID; wait $COATI_PID
rm -r /run/keys
COATI_FLAGS=
coati_up
pings a $A2 $B2 5
must "without the flag there is no key and no warning" sh -c "! ls /run/keys && ! ip netns exec a '$COATI' status --socket /run/coati.sock | grep debug-keys"
