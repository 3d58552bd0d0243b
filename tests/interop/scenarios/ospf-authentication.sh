# Links side by side, one for each kind of authentication: three with FRR, seven with BIRD. Another key makes no neighbour,
# and a key is replaced by the next while an adjacency goes on.

hosts a b c
network_behind b $LAN_B
network_behind c 10.3.0.1
for kind in null simple md5; do
    number=$((number + 1))
    cable b-$kind a 10.0.$number.1 b 10.0.$number.2
done
for kind in null simple md5 sha-1 sha-256 sha-384 sha-512 wrong; do
    number=$((number + 1))
    cable c-$kind a 10.0.$number.1 c 10.0.$number.2
done

interface() { # name kind, as in Coati's and FRR's files
    printf 'interface %s\n ip ospf network point-to-point\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n' $1
    case $2 in
        simple) printf ' ip ospf authentication\n ip ospf authentication-key geheim\n' ;;
        md5) printf ' ip ospf authentication message-digest\n ip ospf message-digest-key 1 md5 geheim\n' ;;
        sha-* | wrong) printf ' ip ospf authentication key-chain %s\n' $2 ;;
    esac
}
chain() { # name, key and algorithm, again and again
    echo "key chain $1"; shift
    while [ $# -gt 0 ]; do
        printf ' key %s\n  key-string geheim%s\n  cryptographic-algorithm hmac-%s\n' $1 $1 $2
        shift 2
    done
}
coati_conf() { # the keys for SHA-256
    for kind in sha-1 sha-384 sha-512; do chain $kind 9 $kind; done
    chain sha-256 "$@"
    chain wrong 9 sha-256
    for kind in null simple md5; do interface b-$kind $kind; done
    for kind in null simple md5 sha-1 sha-256 sha-384 sha-512 wrong; do interface c-$kind $kind; done
    printf 'router ospf\n ospf router-id 1.1.1.1\n network 10.0.0.0/16 area 0\n'
}
bird_conf() { # its passwords for SHA-256
    cat <<-END
	router id 3.3.3.3;
	protocol device {}
	protocol kernel { ipv4 { export where source = RTS_OSPF; }; }
	protocol ospf v2 links {
	    area 0 {
	        interface "em1" { stub; };
	        interface "c-null" { type ptp; hello 1; dead 4; };
	        interface "c-simple" { type ptp; hello 1; dead 4; authentication simple; password "geheim"; };
	END
    link md5 'password "geheim" { id 1; algorithm keyed md5; };'
    for kind in 1 384 512; do
        link sha-$kind "password \"geheim9\" { id 9; algorithm hmac sha$kind; };"
    done
    link sha-256 "$1"
    link wrong 'password "geheim" { id 9; algorithm hmac sha256; };'
    echo '}; }'
}
link() { echo "interface \"c-$1\" { type ptp; hello 1; dead 4; authentication cryptographic; $2 };"; }
password() { echo "password \"geheim$1\" { id $1; algorithm hmac sha256; };"; }

mkdir -p /run/site
coati_conf 9 sha-256 > /run/site/frr.conf
{
    for kind in null simple md5; do interface b-$kind $kind; done
    printf 'router ospf\n ospf router-id 2.2.2.2\n network 10.0.0.0/8 area 0\n passive-interface em1\n'
} > /run/b.conf
bird_conf "$(password 9)" > /run/c.conf
coati_up
frr_up /run/b.conf
bird_up c /run/c.conf
neighbours() { [ "$(coati show ip ospf neighbor | grep "$1" | grep -c Full/)" = $2 ]; }
ways() { [ "$(ip -n a route show $1 | grep -o via | wc -l)" = $2 ]; }
within 40 "three neighbours are FRR" neighbours 2.2.2.2 3
within 40 "seven are BIRD" neighbours 3.3.3.3 7
within 20 "three ways to the network behind FRR" ways 10.2.0.0/24 3
within 20 "seven to that behind BIRD" ways 10.3.0.0/24 7
is_refused() { coati show ip ospf interface c-wrong | grep "Packets dropped: .*digest"; }
must "another key makes no neighbour, and is counted" is_refused
fact "$(coati show ip ospf interface c-wrong | grep dropped)"

# Each side takes the new key before the other sends it.
bird_conf "$(password 9) $(password 10)" > /run/c.conf
birdc configure > /dev/null
coati_conf 9 sha-256 10 sha-256 > /run/site/frr.conf
reload
bird_conf "$(password 10)" > /run/c.conf
birdc configure > /dev/null
coati_conf 10 sha-256 > /run/site/frr.conf
reload
# Longer than the dead interval. The number of the key is in the third byte of the header's last eight.
sent_with_key_10() {
    in_a busybox timeout 20 tcpdump -n -i c-sha-256 -c 6 "src 10.0.8.2 and ip proto 89 and ip[38] = 10" > /run/of-bird &
    in_a busybox timeout 20 tcpdump -n -i c-sha-256 -c 6 "src 10.0.8.1 and ip proto 89 and ip[38] = 10" && wait $!
}
must "six hellos of each with the new key" sent_with_key_10
is_undisturbed() { ! grep 'on c-sha-256: Full' $WORK/coati.log && neighbours 3.3.3.3 7; }
must "the adjacency has gone on" is_undisturbed
kill $COATI_PID; wait $COATI_PID; COATI_PID=
