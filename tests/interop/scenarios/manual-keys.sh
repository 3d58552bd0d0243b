# Keys by hand on both sides: Coati's ESP and GRE against the Linux kernel's.

state() { # source destination spi reqid encryption-key authentication-key
    ip -n b xfrm state add src $1 dst $2 proto esp spi $3 reqid $4 mode transport replay-window 32 \
        enc 'cbc(aes)' $5 auth-trunc 'hmac(sha1)' $6 96
}
policy() { # direction source destination reqid
    ip -n b xfrm policy add dir $1 src $2/32 dst $3/32 proto gre tmpl src $2 dst $3 proto esp reqid $4 mode transport
}
network
state $A1 $B1 0x1001 1 0x00112233445566778899aabbccddeeff 0x000102030405060708090a0b0c0d0e0f10111213
state $B1 $A1 0x1002 2 0xffeeddccbbaa99887766554433221100 0x131211100f0e0d0c0b0a09080706050403020100
policy out $B1 $A1 2
policy in $A1 $B1 1
gre_in_b

coati_files "$SITES/manual-keys/site-a"
coati_up
pings a $A2 $B2 50
pings b $B2 $A2 50
in_a ping -q -n -c 3 -i 0.1 -s 1372 -M do $B2 > /run/big
must "packets as big as the tunnel's MTU of 1400" grep -q " 0% packet loss" /run/big

ip -n a route add 10.2.0.0/24 dev gre0
ip -n b route add 10.1.0.0/24 dev gre0
pings a $LAN_A $LAN_B 20
pings b $LAN_B $LAN_A 20
must "the kernel found every packet in order" \
    sh -c "ip -s -n b xfrm state | grep -A 1 stats: | grep -q 'replay-window 0 replay 0 failed 0'"
