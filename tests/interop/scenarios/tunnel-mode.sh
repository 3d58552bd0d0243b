# ESP in tunnel mode around GRE with strongSwan and the kernel, begun from either side; packets as big as the tunnel's MTU.

network
sed 's/mode = transport/mode = tunnel/' "$PEERS/swanctl.conf" > /run/tunnel.conf
gre_in_b
strongswan_up /run/tunnel.conf
coati_files "$SITES/seed/freebsd-a"
sed -e "/-P out/s,esp/transport//,esp/tunnel/$A1-$B1/," -e "/-P in/s,esp/transport//,esp/tunnel/$B1-$A1/," \
    "$SITES/seed/freebsd-a/setkey.conf" > /run/site/setkey.conf
coati_up
# On a busy machine the peer has its SAs a moment after the first packet by them.
in_a ping -n -c 5 -i 0.3 -W 20 $B2 > /run/first
must "pings into the cold tunnel answered" grep -q "[1-5] received" /run/first
swanctl --list-sas > $WORK/sas
must "strongSwan: one child, INSTALLED, TUNNEL" test "$(grep -c 'INSTALLED, TUNNEL, ESP:AES_CBC-128' $WORK/sas)" = 1
pings a $A2 $B2 50
pings b $B2 $A2 50
in_a ping -q -n -c 3 -i 0.1 -s 1372 -M do $B2 > /run/big
must "packets as big as the tunnel's MTU of 1400" grep -q " 0% packet loss" /run/big

must "strongSwan ends everything" swanctl --terminate --ike site-a
# The kernel behind strongSwan throws the packet away that asks for keys.
in_b ping -n -c 1 -W 5 $A2 > /run/first
pings b $B2 $A2 50
pings a $A2 $B2 50
swanctl --list-sas > $WORK/sas-again
must "strongSwan: one child, INSTALLED, TUNNEL" test "$(grep -c 'INSTALLED, TUNNEL, ESP:AES_CBC-128' $WORK/sas-again)" = 1
