# The seed's two routers, Coati on both sides, with the kernel told over PF_KEY in a, and in b the data plane embedded, in the kernel over XFRM, and over PF_KEY. OSPF finds its neighbour and pings cross, LAN to LAN.

. "$TREE/guest/kernel.sh"
seed_routers
module af_key
up_in a pfkey
up_in b embedded
crosses "pfkey and embedded"
down_in b
up_in b xfrm
crosses "pfkey and xfrm"
down_in b
must "b has left nothing behind" nothing_is_left b
up_in b pfkey
crosses "both pfkey"
down_in a
must "a has left nothing behind" nothing_is_left a
down_in b
must "b has left nothing behind" nothing_is_left b
