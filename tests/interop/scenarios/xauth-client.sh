# Coati logs in at strongSwan (XAUTH over a pre-shared key) and is given an address; scripts and racoonctl get to know it; a wrong password.

network
coati_files "$SITES/seed/freebsd-a"
sed -i -e 's/pre_shared_key;/xauth_psk_client;/' -e 's/^passive off;/passive on;\
xauth_login "ann";\
mode_cfg on;\
script "hook" phase1_up;\
script "hook" phase1_down;/' /run/site/racoon.conf
echo 'ann a pass word' >> /run/site/psk.txt
cat > /run/site/hook <<'END'
#!/bin/sh
echo "$1 $INTERNAL_ADDR4 dns $INTERNAL_DNS4_LIST"
END
chmod 755 /run/site/hook
strongswan_up "$PEERS/swanctl-xauth-server.conf"
coati_up
ip netns exec a "$COATI" racoonctl -s /run/coati.sock show-event > $WORK/events &
EVENTS=$!
within 5 "show-event listens" sh -c "ls -l /proc/$EVENTS/fd | grep -q socket"
in_a "$COATI" racoonctl -s /run/coati.sock vpn-connect $B1 > /run/connect 2>&1
must "vpn-connect: $(cat /run/connect)" grep -qx 'Bound to address 10.99.0.10' /run/connect
swanctl --list-sas > $WORK/sas
must "strongSwan knows the user and the address" grep -q "XAuth: 'ann' .10.99.0.10." $WORK/sas
in_a "$COATI" racoonctl -s /run/coati.sock -ll show-sa isakmp > $WORK/isakmp
must "racoonctl: established, as initiator" grep -Eq "$A1.500 +$B1.500 .* 9 I 10 M" $WORK/isakmp
for event in established 'Xauth succeeded' 'mode configuration done'; do
    within 5 "show-event: Phase 1 $event" grep -q "^Phase 1 $event : " $WORK/events
done
within 5 "phase1_up has run, with what was given" \
    grep -q 'hook phase1_up: phase1_up 10.99.0.10 dns 10.2.0.53 10.2.0.54' $WORK/coati.log
in_a "$COATI" racoonctl -s /run/coati.sock vpn-disconnect $B1 > /run/disconnect 2>&1
must "vpn-disconnect: $(cat /run/disconnect)" grep -q '^Phase 1 deleted' /run/disconnect
within 5 "strongSwan has no SA any more" sh -c 'test -z "$(ip netns exec b swanctl --list-sas --uri unix:///run/charon.vici)"'
within 5 "phase1_down has run, with what was given" grep -q 'hook phase1_down: phase1_down 10.99.0.10' $WORK/coati.log

# A pool, for strongSwan, means that the tunnel is from an address of it.
sed -i '/^mode_cfg on;/d' /run/site/racoon.conf
sed '/pools = inside/d' "$PEERS/swanctl-xauth-server.conf" > /run/swanctl.conf
must "strongSwan gives no addresses any more" swanctl --load-all --noprompt --file /run/swanctl.conf
kill -HUP $COATI_PID
within 10 "the files are read again" grep -q 'reloaded: ' $WORK/coati.log
in_a "$COATI" racoonctl -s /run/coati.sock vpn-connect $B1 > /run/connect 2>&1
must "without mode config: $(cat /run/connect)" grep -qx 'VPN connexion established' /run/connect
child() { swanctl --list-sas | grep -A 9 "XAuth: 'ann'" | grep INSTALLED; }
within 10 "OSPF wants the tunnel: strongSwan has a child under the login" child
# Not before: strongSwan, that is not to begin by itself, has no policy yet that would keep it from going in clear.
gre_in_b
within 20 "pings through the tunnel are answered" in_a ping -n -c 1 -W 1 $B2
pings a $A2 $B2 20
ip -n b link set gre0 down
must "vpn-disconnect" in_a "$COATI" racoonctl -s /run/coati.sock vpn-disconnect $B1

echo 'a guess' | in_a busybox setsid "$COATI" racoonctl -s /run/coati.sock vpn-connect -u ann $B1 > /run/refused 2>&1
must "a wrong password: $(head -n 1 /run/refused)" grep -q 'Phase 1 Xauth failed: it refuses the login of "ann"' /run/refused
within 5 "show-event says so" grep -q '^Phase 1 Xauth failed : ' $WORK/events
kill $EVENTS
must "no password is in the log" sh -c "! grep -E 'a pass word|a guess' $WORK/coati.log"
