# Two equal ways from Coati to FRR: the kernel uses both, and the one that is left when one is cut.

for host in a b; do ip netns add $host; done
for number in 0 1; do
    ip link add lan$number netns a type veth peer name lan$number netns b
    ip -n a addr add 10.0.$number.1/24 dev lan$number
    ip -n b addr add 10.0.$number.2/24 dev lan$number
    ip -n a link set lan$number up
    ip -n b link set lan$number up
done
ip -n b link add em1 type veth peer name em1-end
for link in lo em1 em1-end; do ip -n b link set $link up; done
ip -n b addr add $LAN_B/24 dev em1
ip -n a link set lo up
mkdir -p /run/site
for number in 0 1; do
    echo "interface lan$number"
    echo " ip ospf network point-to-point"
    echo " ip ospf hello-interval 1"
    echo " ip ospf dead-interval 4"
done > /run/lans
{ cat /run/lans; echo "router ospf"; echo " ospf router-id 1.1.1.1"; echo " network 10.0.0.0/16 area 0"; } > /run/site/frr.conf
{ cat /run/lans; echo "router ospf"; echo " ospf router-id 2.2.2.2"; echo " network 10.0.0.0/8 area 0"; echo " passive-interface em1"; } > /run/b.conf
coati_up
frr_up /run/b.conf
ways() { ip -n a route show 10.2.0.0/24 | grep -o 'via 10.0.[01].2' | wc -l; }
has_ways() { [ "$(ways)" = "$1" ]; }
within 30 "two ways in Coati's kernel" has_ways 2
fact "$(ip -n a route show 10.2.0.0/24)"
must "a ping takes them" ip netns exec a ping -c 3 -i 0.2 $LAN_B
ip -n b link set lan1 down
within 10 "one way when a link is down" has_ways 1
ip -n b link set lan1 up
within 30 "two again" has_ways 2
kill $COATI_PID; wait $COATI_PID; COATI_PID=
gone() { has_ways 0; }
within 5 "none after Coati's end" gone
