# The networks behind both gateways by policies in tunnel mode, without GRE, with strongSwan and the kernel's ESP: either side begins, renewal, pieces, and packets that are too large.

network
mkdir /run/site
cp "$SITES/seed/freebsd-a/racoon.conf" "$SITES/seed/freebsd-a/psk.txt" /run/site/
chmod 600 /run/site/psk.txt
cat > /run/site/setkey.conf <<'END'
flush;
spdflush;
spdadd 10.1.0.0/24 10.2.0.0/24 any -P out ipsec esp/tunnel/192.0.2.1-198.51.100.1/require;
spdadd 10.2.0.0/24 10.1.0.0/24 any -P in ipsec esp/tunnel/198.51.100.1-192.0.2.1/require;
END
sed -e 's/mode = transport/mode = tunnel/' -e 's/local_ts = .*/local_ts = 10.2.0.0\/24/' \
    -e 's/remote_ts = .*/remote_ts = 10.1.0.0\/24/' "$PEERS/swanctl.conf" > /run/swanctl.conf
strongswan_up /run/swanctl.conf
coati_up
within 5 "a route follows from the policy" sh -c 'ip -n a route show 10.2.0.0/24 | grep -q "dev ipsec0 .*src 10.1.0.1"'
within 20 "Coati begins: pings are answered" in_a ping -n -c 1 -W 1 -I $LAN_A $LAN_B
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as responder" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i [0-9a-f]+_r\*' $WORK/sas
must "strongSwan: a tunnel between the networks" sh -c "grep -q 'INSTALLED, TUNNEL' $WORK/sas && grep -q 'remote 10.1.0.0/24' $WORK/sas"
pings a $LAN_A $LAN_B 20
pings b $LAN_B $LAN_A 20

in_a ping -n -c 3 -i 0.1 -s 3000 -I $LAN_A $LAN_B > $WORK/pieces
must "what is cut into pieces arrives: $(in_short $WORK/pieces)" grep -q ' 3 received' $WORK/pieces
in_a ping -n -c 2 -i 0.1 -M do -s 1472 -I $LAN_A $LAN_B > $WORK/large 2>&1
must "what is too large is told how much fits" grep -Eq 'mtu ?= ?14[0-9][0-9]' $WORK/large

swanctl --rekey --child gre > /run/rekey 2>&1
pings a $LAN_A $LAN_B 40
swanctl --terminate --ike site-a > /run/terminated 2>&1
within 20 "strongSwan begins: pings are answered" in_b ping -n -c 1 -W 1 -I $LAN_B $LAN_A
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as initiator" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i\* [0-9a-f]+_r' $WORK/sas
pings a $LAN_A $LAN_B 20

echo 'flush; spdflush;' > /run/site/setkey.conf
reload
within 5 "without the policy the route is gone" sh -c '! ip -n a route show 10.2.0.0/24 | grep -q ipsec0'
must "nothing of the networks was on the internet" sh -c "test -z \"\$(tcpdump -n -r $WORK/internet.pcap net 10.0.0.0/8 2> /dev/null)\""
