# Three networks with Coati, FRR and BIRD on each: broadcast, NBMA (which carries no multicast), point-to-multipoint
# (where FRR knows multicast only and BIRD unicast only, so that Coati is between them). On the first two Coati is
# designated router, then backup, then neither; its routes go by all three, always.

hosts a b c
for name in lan0 lan1 lan2; do
    switch $name a 10.0.${name#lan}.1 b 10.0.${name#lan}.2 c 10.0.${name#lan}.3
done
for port in lan1-a lan1-b lan1-c lan2-c; do ip -n lan link set $port type bridge_slave mcast_flood off; done
network_behind a $LAN_A
network_behind b $LAN_B
network_behind c 10.3.0.1

ospfd_conf() { # router id, priority
    for name in lan0 lan1 lan2; do
        printf 'interface %s\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n ip ospf cost 10\n ip ospf priority %s\n' $name $2
        case $name in
            lan0) echo " ip ospf network broadcast" ;;
            lan1) printf ' ip ospf network non-broadcast\n ip ospf authentication\n ip ospf authentication-key geheim\n' ;;
            lan2) echo " ip ospf network point-to-multipoint" ;;
        esac
    done
    printf 'router ospf\n ospf router-id %s\n network 10.0.0.0/8 area 0\n passive-interface em1\n' $1
    for other in 1 2 3; do
        [ $1 = $other.$other.$other.$other ] || echo " neighbor 10.0.1.$other poll-interval 1"
    done
}
cat > /run/c.conf <<-END
	router id 3.3.3.3;
	protocol device {}
	protocol kernel { ipv4 { export where source = RTS_OSPF; }; }
	protocol ospf v2 lans {
	    area 0 {
	        interface "lan0" { type bcast; hello 1; dead 4; cost 10; priority 0; };
	        interface "lan1" {
	            type nbma; hello 1; poll 1; dead 4; cost 10; priority 0; authentication simple; password "geheim";
	            neighbors { 10.0.1.1 eligible; 10.0.1.2 eligible; };
	        };
	        interface "lan2" { type ptmp; hello 1; dead 4; cost 10; neighbors { 10.0.2.1; }; };
	        interface "em1" { stub; };
	    };
	}
END
mkdir -p /run/site
coati_conf() { # priority
    { ospfd_conf 1.1.1.1 $1; printf ' neighbor 10.0.2.2\n neighbor 10.0.2.3\n'; } > /run/site/frr.conf
}
stop_coati() { kill $COATI_PID; wait $COATI_PID; COATI_PID=; }
# State of Coati on both networks that have a designated router.
is_state() { [ "$({ coati show ip ospf interface lan0; coati show ip ospf interface lan1; } | grep -c "State $1,")" = 2 ]; }
full_adjacencies() { [ "$(coati show ip ospf neighbor | grep -c Full/)" = $1 ]; }
# ways HOST DESTINATION LAST: over how many of the networks the destination is reached by the router with this last number.
ways() {
    case $1 in
        # zebra holds a next hop whose address is a host route of point-to-multipoint for unreachable: ospfd's own table.
        b) vtysh show ip ospf route | awk -v to=$2 '/\[/ { at = $2 } at == to' ;;
        *) ip -n $1 route show $2 ;;
    esac | grep -o "via 10[.]0[.][0-2][.]$3\>" | sort -u | wc -l
}
have_ways() {
    for host in a c; do ip -n $host route; done
    [ "$(ways a 10.2.0.0/24 2)$(ways a 10.3.0.0/24 3)" = 33 ] && [ "$(ways b 10.1.0.0/24 1)$(ways b 10.3.0.0/24 3)" = 32 ] &&
        [ "$(ways c 10.1.0.0/24 1)$(ways c 10.2.0.0/24 2)" = 32 ]
}

ospfd_conf 2.2.2.2 9 > /run/b.conf
coati_conf 100
coati_up
frr_up /run/b.conf
bird_up c /run/c.conf
within 40 "designated router on both" is_state DR
within 40 "Full with FRR and BIRD on all three networks" full_adjacencies 6
within 40 "routes by all three networks" have_ways
fact "$(coati show ip ospf neighbor | tail -n +2)"
stop_coati
no_route() { [ "$(ways b 10.1.0.0/24 1)" = 0 ]; }
within 20 "FRR has no way to Coati any more" no_route
coati_up
within 40 "backup on both: FRR has become designated router" is_state Backup
within 40 "Full with all" full_adjacencies 6
within 40 "routes by all three networks" have_ways
coati_conf 0
reload
within 40 "then neither of them" is_state DROther
within 10 "Full with FRR on all, with BIRD on the third network" full_adjacencies 4
within 40 "routes by all three networks" have_ways
stop_coati
