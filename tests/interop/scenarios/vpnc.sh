# vpnc logs in at Coati (aggressive mode with a group's key, XAUTH), is given an address, and reaches the network behind Coati from it; it leaves, and nothing of it stays.

network
accounts
mkdir /run/site
cat > /run/site/racoon.conf <<'END'
listen { isakmp 192.0.2.1 [500]; isakmp_natt 192.0.2.1 [4500]; }
remote anonymous {
	exchange_mode aggressive;
	passive on;
	generate_policy on;
	proposal_check obey;
	nat_traversal on;
	lifetime time 8 hour;
	proposal {
		encryption_algorithm aes 256;
		hash_algorithm sha1;
		authentication_method xauth_psk_server;
		dh_group 2;
	}
}
mode_cfg {
	network4 10.99.0.10;
	netmask4 255.255.255.0;
	pool_size 2;
	dns4 10.1.0.53;
	default_domain "example.org";
	auth_source system;
	auth_groups "vpn";
	banner "/run/site/banner";
}
sainfo anonymous {
	lifetime time 1 hour;
	encryption_algorithm aes 256, aes;
	authentication_algorithm hmac_sha1;
	compression_algorithm deflate;
}
END
echo 'staff an-example-key-of-a-group-replace-it-77ab' > /run/site/psk.txt
echo 'Welcome' > /run/site/banner
chmod 600 /run/site/psk.txt
cat > /run/vpnc.conf <<'END'
IPSec gateway 192.0.2.1
IPSec ID staff
IPSec secret an-example-key-of-a-group-replace-it-77ab
Xauth username ann
Xauth password a pass word
NAT Traversal Mode natt
IKE DH Group dh2
Perfect Forward Secrecy nopfs
Script /run/vpnc-script
Pidfile /run/vpnc.pid
END
cat > /run/vpnc-script <<'END'
#!/bin/sh
env > /run/vpnc-$reason
case $reason in
    connect)
        ip link set dev $TUNDEV up mtu 1380
        ip addr add $INTERNAL_IP4_ADDRESS/32 dev $TUNDEV
        ip route add 10.1.0.0/16 dev $TUNDEV
        ;;
esac
END
chmod 755 /run/vpnc-script
chmod 600 /run/vpnc.conf
coati_up
in_b /usr/sbin/vpnc /run/vpnc.conf --no-detach --debug 1 > $WORK/vpnc.log 2>&1 &
VPNC=$!
within 20 "vpnc is connected" test -s /run/vpnc-connect
must "it was given an address" grep -qx 'INTERNAL_IP4_ADDRESS=10.99.0.10' /run/vpnc-connect
must "and a name server, and a domain" sh -c "grep -qx 'INTERNAL_IP4_DNS=10.1.0.53' /run/vpnc-connect && grep -qx 'CISCO_DEF_DOMAIN=example.org' /run/vpnc-connect"
within 5 "Coati has a route to it" sh -c 'ip -n a route show 10.99.0.10 | grep -q "dev ipsec0"'
pings b 10.99.0.10 $LAN_A 20
pings a $LAN_A 10.99.0.10 20
must "Coati logs who it was" grep -q 'login succeeded for user "ann"' $WORK/coati.log
kill -INT $(cat /run/vpnc.pid 2> /dev/null || echo $VPNC)
within 10 "vpnc has left" sh -c "! kill -0 $VPNC"
within 10 "nothing of it stays: no route" sh -c '! ip -n a route show 10.99.0.10 | grep -q ipsec0'
coati show ike > $WORK/ike
must "and no SA" sh -c "! grep -q $B1 $WORK/ike || ! grep -q established $WORK/ike"
must "nothing from inside was on the internet" sh -c "test -z \"\$(tcpdump -n -r $WORK/internet.pcap net 10.0.0.0/8 2> /dev/null)\""
