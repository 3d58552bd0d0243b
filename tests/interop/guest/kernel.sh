# What scenarios with the kernel as data plane are made of besides (--dataplane xfrm, pfkey).

# module NAME: loads it; what it needs is there.
module() { busybox insmod "$(grep -o "^[^:]*/$1[.]ko[^:]*" modules.dep)"; }

# --- The seed's two routers, Coati on both sides.

seed_routers() {
    network
    for side in a b; do
        cp -r "$SITES/seed/freebsd-$side" /run/site-$side
        chmod 755 /run/site-$side
        chmod 600 /run/site-$side/*
    done
    # Once begun it has fewer rights, which have to do for the end too.
    printf 'privsep { user "nobody"; group "nogroup"; }\n' >> /run/site-b/racoon.conf
}
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
what_is_left() { # namespace
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

# --- Coati and strongSwan, COATI_FLAGS saying which data plane.

# SPI, reqid and keys of each SA that has keys, as the kernel and as Coati tell them.
kernels_sas() {
    ip -n a xfrm state | awk '
        /spi/ { spi = $4; reqid = $6 }
        /auth-trunc/ { auth = substr($3, 3) }
        /enc / { print spi, reqid, substr($3, 3), auth }' | sort
}
coatis_sas() {
    in_a /run/setkey -s /run/coati.sock -D | awk '
        /spi=/ { split($0, part, /[()=]/); spi = part[4]; reqid = part[6] }
        /E: / { enc = ""; for (i = 3; i <= NF; i++) enc = enc $i }
        /A: / { auth = ""; for (i = 3; i <= NF; i++) auth = auth $i; print spi, reqid, enc, auth }' | sort
}
# Direction, reqid, source and destination of each policy.
kernels_policies() {
    ip -n a xfrm policy | awk '
        /^src/ { sub("/32", "", $2); sub("/32", "", $4); ends = $2 " " $4 }
        /dir/ { direction = $2 }
        /reqid/ { print direction, $4, ends }' | sort
}
coatis_policies() {
    in_a /run/setkey -s /run/coati.sock -DP | awk '
        /^[0-9]/ { ends = $1 " " $2 }
        / ipsec$/ || /\tipsec$/ || /(in|out|fwd) ipsec/ { direction = $1 }
        /unique[#:]/ { sub(".*[#:]", "", $1); print direction, $1, ends }' | sort
}
agree() { # what count: both tell the same, so many lines
    kernels_$1 > $WORK/kernels-$1
    coatis_$1 > $WORK/coatis-$1
    cmp $WORK/kernels-$1 $WORK/coatis-$1 && test "$(wc -l < $WORK/kernels-$1)" -ge "$2"
}
# without MODULE WHAT: it does not start, and says what.
without() { # module what is said
    busybox rmmod $1
    in_a "$COATI" up /run/site --socket /run/coati.sock $COATI_FLAGS > /run/lacking 2>&1
    must "a missing module has its name: $1" grep -q "$2" /run/lacking
    module $1
}

# Renewals under pings of which none is lost, dumps that agree with the kernel's, an end and a crash that leave nothing
# behind. The data plane, as status says it.
with_strongswan() {
    gre_in_b
    strongswan_up "$PEERS/swanctl.conf"
    sed -i 's/^lifetime time 8 hour;/lifetime time 15 sec;/; s/^lifetime time 4 hour;/lifetime time 6 sec;/' /run/site/racoon.conf
    coati_up
    # Those that were held may be at strongSwan before it has its SA.
    within 10 "pings are answered" in_a ping -n -c 1 -W 1 $B2
    must "status says where SAs live" sh -c "'$COATI' status --socket /run/coati.sock | grep -q 'dataplane *$1'"
    within 20 "SAs: Coati and the kernel agree" agree sas 2
    within 20 "policies: Coati and the kernel agree" agree policies 3
    stream_of_pings 10
    must "IPsec SAs established: 3 pairs or more" log_has 6 IPsec-SA.established
    within 20 "SAs: Coati and the kernel agree" agree sas 2
    within 10 "strongSwan holds no more than two children" children_at_most 2

    # What classic setkey.conf files do, while packets go: the policies have no gap, so that nothing leaves in clear.
    in_b ping -q -n -i 0.02 -w 4 $A2 > /run/meanwhile &
    in_a ping -q -n -i 0.02 -w 4 $B2 > /run/meanwhile-a &
    for i in 1 2 3; do in_a /run/setkey -s /run/coati.sock -f /run/site/setkey.conf; done
    within 5 "policies are put anew: pings are answered" in_a ping -n -c 1 -W 1 $B2
    within 20 "policies: Coati and the kernel agree" agree policies 3
    in_a /run/setkey -s /run/coati.sock -FP
    must "without policies nobody answers" sh -c "! ip netns exec a ping -q -n -i 0.1 -c 3 -W 1 $B2 > /run/bare"
    in_a /run/setkey -s /run/coati.sock -f /run/site/setkey.conf
    within 5 "with them they do" in_a ping -n -c 1 -W 1 $B2

    # A second start with its tunnel there; pings go on meanwhile, and none leaves in clear.
    in_b ping -q -n -i 0.02 -w 8 $A2 > /run/meanwhile &
    kill -9 $COATI_PID
    wait $COATI_PID
    must "policies stay" test "$(kernels_policies | wc -l)" = 3
    coati_up
    must "it tells of what it found" log_has 1 'a predecessor did not end in order: its SAs are removed (.*), its policies stay until ours are there (3)'
    within 5 "pings are answered again" in_a ping -n -c 1 -W 1 $B2
    within 20 "SAs: Coati and the kernel agree" agree sas 2
    within 20 "policies: Coati and the kernel agree" agree policies 3
    kill $COATI_PID
    wait $COATI_PID
    must "it has left nothing behind" nothing_is_left a
    COATI_PID=
}
