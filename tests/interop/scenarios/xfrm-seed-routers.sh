# The seed's two routers, Coati on both sides, each pair of data planes in turn: xfrm and embedded, both xfrm, embedded and xfrm. OSPF finds its neighbour and pings cross, LAN to LAN.

. "$TREE/guest/kernel.sh"
seed_routers
# Two that begin at once are the usual case after a power cut.
up_in a xfrm
up_in b embedded
crosses "xfrm and embedded"
down_in b
up_in b xfrm
crosses "both xfrm"
down_in a
must "a has left nothing behind" nothing_is_left a
up_in a embedded
crosses "embedded and xfrm"
down_in b
must "b has left nothing behind" nothing_is_left b
down_in a
