# strongSwan logs in at Coati (XAUTH over a pre-shared key) as a user of the system in a group, and is given an address; logout-user; who is let in no more.

network
coati_files "$SITES/seed/freebsd-a"
sed -i -e 's/pre_shared_key;/xauth_psk_server;/' -e 's/^passive off;/passive on;/' /run/site/racoon.conf
cat >> /run/site/racoon.conf <<'END'
mode_cfg {
	network4 10.99.0.10;
	netmask4 255.255.255.0;
	pool_size 2;
	dns4 10.1.0.53;
	default_domain "example.org";
	split_network include 10.1.0.0/16;
	auth_source system;
	auth_groups "vpn";
	banner "/run/site/banner";
}
END
echo 'Welcome' > /run/site/banner
accounts
coati_up
ip netns exec a "$COATI" racoonctl -s /run/coati.sock show-event > $WORK/events &
EVENTS=$!
within 5 "show-event listens" sh -c "ls -l /proc/$EVENTS/fd | grep -q socket"
strongswan_up "$PEERS/swanctl-xauth-client.conf"
must "strongSwan logs in" swanctl --initiate --ike inside --timeout 20
swanctl --list-sas > $WORK/sas
must "strongSwan has an address of the pool" grep -Eq "local .*198.51.100.1.*\[10.99.0.10\]" $WORK/sas
must "strongSwan has installed it" sh -c 'ip -n b -brief addr show | grep -q 10.99.0.10'
must "Coati logs who it was" grep -q 'login succeeded for user "ann"' $WORK/coati.log
must "and what it gave" grep -q 'address 10.99.0.10 given to user "ann"' $WORK/coati.log
coati show ike > $WORK/ike
must "coati show ike: $(grep -c . $WORK/ike) lines, with strongSwan's address" grep -q $B1 $WORK/ike
must "it goes again" swanctl --terminate --ike inside --timeout 20
must "strongSwan logs in for the tunnel" swanctl --initiate --child gre --timeout 20
# Not before: strongSwan, that is not to begin by itself, has no policy yet that would keep it from going in clear.
gre_in_b
within 20 "pings through the tunnel are answered" in_b ping -n -c 1 -W 1 $A2
pings b $B2 $A2 20
ip -n b link set gre0 down

must "logout-user" in_a "$COATI" racoonctl -s /run/coati.sock logout-user ann
within 5 "strongSwan has no SA any more" sh -c 'test -z "$(ip netns exec b swanctl --list-sas --uri unix:///run/charon.vici)"'
within 5 "show-event says so" grep -q '^Phase 1 deleted : ' $WORK/events
kill $EVENTS
must "a second logout-user finds nobody" sh -c "! ip netns exec a $COATI racoonctl -s /run/coati.sock logout-user ann"

# Into the file that is mounted, not into another one in its place.
grep -v '^vpn:' /etc/group > /run/without; cat /run/without > /etc/group
must "out of the group: refused" sh -c "! ip netns exec b swanctl --initiate --child gre --timeout 20 --uri unix:///run/charon.vici > /run/refused 2>&1"
within 5 "and why is in the log" grep -q 'login refused: the user is in none of the groups vpn' $WORK/coati.log
sed 's/a pass word/a guess/' "$PEERS/swanctl-xauth-client.conf" > /run/swanctl.conf
must "strongSwan takes another password" swanctl --load-all --noprompt --clear --file /run/swanctl.conf
must "a wrong password: refused" sh -c "! ip netns exec b swanctl --initiate --child gre --timeout 20 --uri unix:///run/charon.vici > /run/refused 2>&1"
within 5 "and that is in the log" grep -q 'login refused: the password is wrong' $WORK/coati.log
must "no password is in the log" sh -c "! grep -E 'a pass word|a guess' $WORK/coati.log"
