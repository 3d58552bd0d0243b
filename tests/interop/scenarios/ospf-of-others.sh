# Coati brings IKE, ESP and GRE; OSPF over its tunnel is BIRD's here and FRR's there.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
rm /run/site/ospfd.conf
coati_up
pings a $A2 $B2 1
sed 's/203.0.113.2/203.0.113.1/' "$PEERS/bird.conf" > /run/bird.conf
bird_up a /run/bird.conf
frr_up "$PEERS/frr.conf"
within 25 "BIRD: Full" bird_is_full 203.0.113.2
within 25 "FRR: Full" frr_is_full 203.0.113.1
within 25 "BIRD's route to LAN B" has_ospf_route a 10.2.0.0/24
within 25 "FRR's route to LAN A" has_ospf_route b 10.1.0.0/24
pings a $LAN_A $LAN_B 20
pings b $LAN_B $LAN_A 20
