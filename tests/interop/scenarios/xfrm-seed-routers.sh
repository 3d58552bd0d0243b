# The seed's two routers, Coati on both sides, each pair of data planes in turn: xfrm and embedded, both xfrm, embedded and xfrm. OSPF finds its neighbour and pings cross, LAN to LAN.

up_in() { # namespace dataplane
    ip netns exec $1 "$COATI" up /run/site-$1 --socket /run/$1.sock --log $WORK/coati-$1.log --dataplane $2 2>> $WORK/coati-$1.stderr &
    eval PID_$1=$!
    within 10 "$1 answers, with $2" "$COATI" status --socket /run/$1.sock
}
down_in() { eval kill \$PID_$1 && eval wait \$PID_$1; }
is_full() { "$COATI" show --socket /run/$1.sock ip ospf neighbor | grep -q Full/; }
learns() { ip -n $1 route show proto ospf | grep -q $2; }
crosses() { # what
    within 15 "$1: OSPF is Full in a" is_full a
    within 15 "$1: OSPF is Full in b" is_full b
    within 10 "$1: a has a route to b's LAN" learns a 10.2.0.0/24
    within 10 "$1: b has a route to a's LAN" learns b 10.1.0.0/24
    pings a $LAN_A $LAN_B 20
    pings b $LAN_B $LAN_A 20
}
what_is_left() {
    ip -n $1 xfrm state
    ip -n $1 xfrm policy
    ip -n $1 route show proto ospf
    ip -n $1 -br link | grep '^gre0@'
    ip netns exec $1 grep -v 1 /proc/sys/net/core/xfrm_larval_drop
}
nothing_is_left() {
    what_is_left $1 > $WORK/left-$1
    cat $WORK/left-$1
    test ! -s $WORK/left-$1
}

network
for side in a b; do
    cp -r "$SITES/seed/freebsd-$side" /run/site-$side
    chmod 755 /run/site-$side
    chmod 600 /run/site-$side/*
done
# Once begun it has fewer rights, which have to do for the end too.
printf 'privsep { user "nobody"; group "nogroup"; }\n' >> /run/site-b/racoon.conf
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
