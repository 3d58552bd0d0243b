# Areas of each kind: one not-so-stubby area of which Coati, FRR and BIRD are all border routers, and only the one translates
# whose turn it is; then Coati inside stub areas of FRR's, and BIRD inside such areas of Coati's.
#
#   a Coati, b FRR, c BIRD in the backbone (lan0) and in area 1 (lan1); in d a second Coati, inside area 1, which has an
#   external route, and between d and b, and between a and c, links for the stub areas.

hosts a b c d
switch lan0 a 10.0.0.1 b 10.0.0.2 c 10.0.0.3
switch lan1 a 10.0.1.1 b 10.0.1.2 c 10.0.1.3 d 10.0.1.4
cable bd b 10.0.2.2 d 10.0.2.4
cable ac a 10.0.3.1 c 10.0.3.3
network_behind a $LAN_A
network_behind b $LAN_B
ip -n d route add blackhole 172.30.0.0/16
ip -n b route add blackhole 172.31.0.0/16

fast() { for name in "$@"; do printf 'interface %s\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n' $name; done; }
ptp() { fast $1; echo " ip ospf network point-to-point"; }
mkdir -p /run/site /run/site-d
coati_conf() { # lines of the area of its link with BIRD
    fast lan0 lan1
    ptp ac
    printf 'router ospf\n ospf router-id 2.2.2.2\n network 10.0.0.0/24 area 0\n network 10.0.1.0/24 area 1\n'
    printf ' network 10.1.0.0/24 area 0\n passive-interface em1\n network 10.0.3.0/24 area 2\n redistribute static route-map ours\n'
    printf "$1"
    # Not the third one: FRR keeps what is withdrawn for a minute in its database.
    printf 'ip prefix-list ours permit 172.28.0.0/15 le 16\nroute-map ours permit 10\n match ip address prefix-list ours\n'
    printf 'ip route 172.28.0.0/16 Null0\nip route 172.29.0.0/16 10.0.3.3 tag 7\nip route 172.31.0.0/16 10.0.3.3 250\n'
}
coati_d_conf() { # area of its one network, network, what kind of area it is
    fast lan1
    ptp bd
    printf 'router ospf\n ospf router-id 4.4.4.4\n network %s area %s\n area %s %s\n redistribute kernel\n' $2 $1 $1 "$3"
}
{
    fast lan0 lan1
    ptp bd
    cat <<-END
	router ospf
	 ospf router-id 1.1.1.1
	 timers throttle lsa all 0
	 timers lsa min-arrival 0
	 timers throttle spf 0 50 500
	 network 10.0.0.0/24 area 0
	 network 10.0.1.0/24 area 1
	 network 10.0.2.0/24 area 3
	 network 10.2.0.0/24 area 0
	 passive-interface em1
	 redistribute kernel
	 area 1 nssa
	 area 3 stub
	 capability opaque
	 router-info area
	END
} > /run/b.conf
bird_conf() { # its areas
    cat <<-END
	router id 3.3.3.3;
	protocol device {}
	protocol kernel { ipv4 { export where source ~ [ RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, RTS_OSPF_EXT2 ]; }; }
	protocol ospf v2 areas { $1 }
	END
}
bird_conf '
    area 0 { interface "lan0" { hello 1; dead 4; }; };
    area 1 { nssa; interface "lan1" { hello 1; dead 4; }; };' > /run/c.conf
coati_d() { command=$1; shift; ip netns exec d "$COATI" "$command" --socket /run/coati-d.sock "$@"; }
coati_d_up() {
    ip netns exec d "$COATI" up /run/site-d --socket /run/coati-d.sock --log $WORK/coati-d.log 2>> $WORK/coati.stderr &
    COATI_D_PID=$!
}
# translators COMMAND ROUTER…: whose translations of the external route there are, dying ones aside. BIRD's link state id is
# the last address of the network.
translators() {
    "$1" show ip ospf database external | awk '
        / LS age:/ { age = $3 } / Link State ID:/ { id = $4 }
        / Advertising Router:/ && id ~ /^172[.]30[.]/ && age < 3600 { print $3 }' | sort > /run/translators
    cat /run/translators
    shift
    [ "$(echo $(cat /run/translators))" = "$*" ]
}

coati_conf ' area 1 nssa\n area 2 stub\n' > /run/site/frr.conf
coati_d_conf 1 10.0.1.0/24 nssa > /run/site-d/frr.conf
coati_d_up
frr_up /run/b.conf
bird_up c /run/c.conf
# Before the others are there Coati would translate, and then go on for TranslatorStabilityInterval.
within 40 "BIRD translates, for it has the highest router id" translators vtysh 3.3.3.3
coati_up
within 20 "Coati says so too" translators coati 3.3.3.3
within 20 "the external route in FRR's kernel" has_ospf_route b 172.30.0.0/16
within 20 "FRR's own external route in Coati's" has_ospf_route a 172.31.0.0/16
within 20 "the networks of the backbone inside the area" has_ospf_route d 10.2.0.0/24
# Static routes of the file: in the kernel as far as OSPF has none that is better, and redistributed.
has_static_routes() {
    ip -n a route
    ip -n a route | grep -q '^blackhole 172.28.0.0/16 proto 77' && ip -n a route | grep -q '^172.29.0.0/16 via 10.0.3.3 dev ac proto 77'
}
must "static routes in Coati's kernel" has_static_routes
must "one with a larger distance than OSPF's is not" has_ospf_route a 172.31.0.0/16
within 20 "a static route in FRR's kernel" has_ospf_route b 172.29.0.0/16
for what in network external nssa-external opaque-area "router adv-router 4.4.4.4" "summary adv-router 3.3.3.3"; do
    within 10 "database $what: JSON as FRR's" same_json $what
done
# BIRD leaves the backbone and the area, and is inside a stub area of Coati's. Its translation stays behind, of no use.
bird_conf 'area 2 { stub; interface "ac" { type ptp; hello 1; dead 4; }; };' > /run/c.conf
birdc configure > /dev/null
within 40 "then Coati translates" translators vtysh 2.2.2.2 3.3.3.3
within 20 "the external route in FRR's kernel" has_ospf_route b 172.30.0.0/16
coati_conf ' area 1 nssa translate-never\n area 2 stub\n' > /run/site/frr.conf
reload
must "FRR is told to translate always" in_b vtysh --vty_socket /run/frr --config_dir /run/frr \
    -c 'configure terminal' -c 'router ospf' -c 'area 1 nssa translate-always'
within 40 "then FRR, and Coati, which is told not to, does no more" translators coati 1.1.1.1 3.3.3.3
within 20 "the external route in Coati's kernel" has_ospf_route a 172.30.0.0/16

# Inside a stub area: networks of other areas, and a default route instead of externals.
is_stubby() { # namespace, count of other networks that it has, of 10.1.0.0/24 and 10.2.0.0/24
    ip -n $1 route
    ip -n $1 route | grep -E 'proto (ospf|bird)' > /run/stubby
    grep -q '^default' /run/stubby && ! grep -q '^172' /run/stubby && [ "$(grep -Ec '^10.[12].0.0/24' /run/stubby)" = $2 ]
}
within 20 "BIRD in a stub area of Coati's" is_stubby c 2
ip -n d route del blackhole 172.30.0.0/16
coati_d_conf 3 10.0.2.0/24 stub > /run/site-d/frr.conf
must "the Coati in d goes to another area" ip netns exec d "$COATI" racoonctl -s /run/coati-d.sock reload-config
within 20 "Coati in a stub area of FRR's" is_stubby d 2
coati_conf ' area 1 nssa\n area 2 stub no-summary\n' > /run/site/frr.conf
reload
must "FRR's stub area becomes a totally stubby one" in_b vtysh --vty_socket /run/frr --config_dir /run/frr \
    -c 'configure terminal' -c 'router ospf' -c 'area 3 stub no-summary'
within 20 "BIRD in a totally stubby area of Coati's" is_stubby c 0
within 20 "Coati in a totally stubby area of FRR's" is_stubby d 0
kill $COATI_D_PID; wait $COATI_D_PID
kill $COATI_PID; wait $COATI_PID; COATI_PID=
must "no static route stays" sh -c '! ip -n a route | grep "proto 77"'
