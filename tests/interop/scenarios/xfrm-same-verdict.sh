# Random policies, by a seed: what the sender does is seldom what the receiver wants. They are for GRE in transport mode, and
# for the networks behind both gateways, IPv4 and IPv6, in tunnels of either, with prefixes, ports, types of ICMP, keys of GRE
# and priorities that overlap; packets are whole or pieces. What the embedded data plane in a has sealed is judged by the kernel in b, and what the kernel has sealed by
# the same policies, by the embedded one, which wants the same: both say the same of each packet.

. "$TREE/guest/kernel.sh"
# Tunnels outside of IPComp, and of IPv6.
for name in tunnel4 xfrm4_tunnel esp6 ah6; do module $name; done
up_in() { # namespace dataplane
    ip netns exec $1 "$COATI" up /run/site-$1 --socket /run/$1.sock --log $WORK/coati-$1.log --dataplane $2 2>> $WORK/coati-$1.stderr &
    eval PID_$1=$!
    within 10 "$1 answers, with $2" "$COATI" status --socket /run/$1.sock
}
A6=fd99:1::1 B6=fd99:2::1
key=0x000102030405060708090a0b0c0d0e0f10111213
# policies SEED: those of a host, with %S and %D for the numbers of the networks that packets come from and go to, and
# %A-%B for the gateways. The sender names its SAs, since a `require` takes SAs of any reqid here and none of them in Linux;
# AH is outside of ESP, the kernel verifies it there only, and not outside of IPv6 in IPv4, where the kernel sends none.
policies() {
    awk -v seed=$1 '
        function of(list,   words, many, word) {
            many = split(list, words, " "); word = words[int(rand() * many) + 1]; gsub("~", " ", word)
            return word
        }
        function rules(levels, kinds,   text) {
            text = of(kinds)
            if (text ~ /none|discard/) return text
            while (text ~ /L/) sub(/L/, of(levels), text)
            return "ipsec " text
        }
        function for_networks(way, levels, family,   net, from, to, upper, selector, is_hosts) {
            net = family == 4 ? "10.%N.0.0/24 10.%N.0.2 10.%N.0.128/25" : "fd00:%N::/64 fd00:%N::2 fd00:%N::80/121"
            # Not on both sides: what has come out of a tunnel would leave through it again, where a kernel looks after it.
            from = of(net (family == 4 ? " 10.0.0.0/8" : " fd00::/16")); to = of(net)
            if (rand() < 0.3) { selector = from; from = to; to = selector }
            gsub("N", "S", from); gsub("N", "D", to); is_hosts = from to ~ /2.*2$/ && from to !~ "/"
            upper = of("any ports ports ports ports 99 icmp icmp gre gre~7 gre~65543")
            if (upper == "ports") { upper = of("udp tcp"); from = from of("~ ~ [53] [80]"); to = to of("~ ~ [53] [80]") }
            if (upper == "icmp") upper = family == 4 ? of("icmp icmp~8,0 icmp~13,1") : of("icmp6 icmp6~128,0 icmp6~200,1")
            selector = from " " to " " upper
            of_hosts[selector] = is_hosts
            # What is sent and what is wanted has a little in common.
            if (way == "in" && rand() < 0.5) for (selector in sent) if (rand() < 0.2) break
            if ((way, selector) in seen) return
            seen[way, selector]
            if (way == "out") sent[selector]
            # Of one priority, Linux has those between two hosts before all others.
            print "spdadd " selector " -P " way of(of_hosts[selector] ? "~prio~high~-~3 ~prio~low~+~1 ~prio~def~+~2" : "~ ~ ~ ~prio~high~-~2 ~prio~low ~prio~def~+~1"),
                rules(levels, "esp/tunnel/%A-%B/L esp/tunnel/%A-%B/L esp/tunnel/%A-%B/L esp/tunnel/%E-%F/L esp/tunnel/%E-%F/L ah/tunnel/%A-%B/L ah/tunnel/%E-%F/L none discard" (family == 4 ? " ipcomp/tunnel/%A-%B/require~esp/transport//L" : "") (way == "in" || family == 4 ? " esp/tunnel/%A-%B/L~ah/transport//L" : "")) ";"
        }
        function for_gre(way, levels) {
            print "spdadd %A %B gre -P " way, rules(levels, "esp/transport//L ah/transport//L esp/transport//L~ah/transport//L esp/transport//L~ah/transport//L ipcomp/transport//use~esp/transport//L esp/tunnel/%A-%B/L esp/tunnel/%A-%B/L~ah/transport//L ah/transport//L~esp/tunnel/%A-%B/L none discard") ";"
        }
        BEGIN {
            srand(seed); split("out in", ways, " ")
            for (n = 1; n <= 2; n++) {
                way = ways[n]; levels = n == 1 ? "unique:1 unique:2" : "unique:1 unique:2 require require require require use"
                for_gre(way, levels)
                print "spdadd 10.%S.0.2 10.%D.0.2 96 -P " way " prio high + 9 ipsec ipcomp/tunnel/%A-%B/require esp/transport//unique:1;"
                print "spdadd 10.%S.0.2 10.%D.0.2 97 -P " way " prio high + 9 ipsec esp/tunnel/%E-%F/unique:1;"
                print "spdadd 10.%S.0.2 10.%D.0.2 98 -P " way " prio high + 9 ipsec esp/tunnel/%A-%B/unique:1;"
                for (count = 0; count < 12; count++) for_networks(way, levels, count % 2 ? 4 : 6)
                # What none of them is about, mostly.
                if (n == 1 || rand() < 0.7) for (family = 0; family < 2; family++)
                    print "spdadd " (family ? "10.%S.0.0/16 10.%D.0.0/16" : "fd00:%S::/32 fd00:%D::/32") " any -P " way " prio low - 9 ipsec esp/tunnel/%A-%B/" of(levels) ";"
            }
        }'
}
# load HOST NUMBER ADDRESS OTHERS_NUMBER OTHERS_ADDRESS
load() {
    {
        echo 'flush; spdflush;'
        for way in "$3 $5" "$5 $3" "$A6 $B6" "$B6 $A6"; do
            for reqid in 1 2; do
                echo "add $way esp 0x100$reqid -m transport -u $reqid -r 64 -E null -A hmac-sha1 $key;"
                echo "add $way ah 0x101$reqid -m transport -u $reqid -r 64 -A hmac-sha1 $key;"
                echo "add $way esp 0x102$reqid -m tunnel -u $reqid -r 64 -E null -A hmac-sha1 $key;"
                echo "add $way ah 0x103$reqid -m tunnel -u $reqid -r 64 -A hmac-sha1 $key;"
            done
            case $way in *:*) ;; *)
                echo "add $way ipcomp 0x300 -m transport -C deflate; add $way ipcomp 0x301 -m tunnel -C deflate;"
            esac
        done
        sed -e "/-P out/ { s/%S/$2/g; s/%D/$4/g; s/%A/$3/g; s/%B/$5/g; s/%E/fd99:$2::1/g; s/%F/fd99:$4::1/g }" \
            -e "/-P in/ { s/%S/$4/g; s/%D/$2/g; s/%A/$5/g; s/%B/$3/g; s/%E/fd99:$4::1/g; s/%F/fd99:$2::1/g }" /run/policies
    } > /run/setkey-$1
    "$COATI" setkey -s /run/$1.sock -f /run/setkey-$1
}
load_both() { load a 1 $A1 2 $B1 && load b 2 $B1 1 $A1; }

network
for side in "a 1" "b 2"; do
    set -- $side
    ip -n internet addr add fd99:$2::fe/64 dev to-$1 nodad
done
ip netns exec internet sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
in_a sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
ip netns add lan
for side in "a 1 2" "b 2 1"; do
    set -- $side
    cp -r "$SITES/manual-keys/site-$1" /run/site-$1
    chmod 755 /run/site-$1
    # With them there is an interface for networks, and sockets for IPv6.
    [ $1 = b ] || cat >> /run/site-a/setkey.conf <<-END
	spdadd 10.1.0.0/16 10.2.0.0/16 any -P out ipsec esp/tunnel/$A1-$B1/require;
	spdadd fd00:1::/32 fd00:2::/32 any -P out ipsec esp/tunnel/$A6-$B6/require;
	END
    chmod 600 /run/site-$1/*
    ip netns exec $1 sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
    ip -n $1 link del em1
    ip link add em1 address 02:00:00:00:00:0$1 netns $1 type veth peer name $1 netns lan
    ip -n lan link set dev $1 up
    # Without ARP everything goes to whoever listens at the other end.
    ip -n $1 -batch - <<-END
	link set dev em1 up arp off
	addr add 10.$2.0.1/16 dev em1
	addr add fd00:$2::1/32 dev em1 nodad
	addr add fd99:$2::1/64 dev em0 nodad
	route add fd99::/16 via fd99:$2::fe
	route add 172.16.$2.0/24 dev em1
	END
done
up_in b xfrm
up_in a embedded
in_b sh -c 'echo 1 > /proc/sys/net/ipv6/conf/gre0/disable_ipv6'
ip -n a -batch - <<END
route add 10.2.0.0/16 dev ipsec0 metric 50
route add fd00:2::/32 dev ipsec0
route add 172.16.2.0/24 dev gre0
END
ip -n b -batch - <<END
route add fd00:1::/32 dev em0
route add 172.16.1.0/24 dev gre0
END
# SAs for a network card: one that is not there, a kernel that lacks something, and a card that cannot do it: the kernel can.
card() {
    echo "add $B1 $A1 esp 0x1100 -hwif $1 -E aes-cbc 0x000102030405060708090a0b0c0d0e0f -A hmac-sha1 $key;" > /run/setkey-card
    "$COATI" setkey -s /run/b.sock -f /run/setkey-card 2>&1
}
refused() { card $1 | grep "$2"; }
must "an SA for a card that is not there is refused" refused em7 'there is no interface em7'
must "an SA for a card, without the module for that" refused em0 'its module esp4_offload may be missing'
module esp4_offload
must "an SA for a card that cannot do it" card em0
must "the kernel itself does it" sh -c "ip -n b xfrm state get src $B1 dst $A1 proto esp spi 0x1100 > /run/card && ! grep offload /run/card"
# 123 has a policy that 122 has, too, and an older one of its priority.
for seed in 6 7 8 9 10 11 100 104 108 122 123 207 219; do
    policies $seed > /run/policies
    must "seed $seed: both take $(grep -c . /run/policies) policies" load_both || continue
    ip netns exec lan perl $TREE/guest/verdicts.pl $seed > /run/verdicts 2>&1
    alike=$?
    must "$(tail -n 1 /run/verdicts)" test $alike = 0 ||
        { cat /run/policies /run/verdicts; in_b grep -v '[^0-9]0$' /proc/net/xfrm_stat; "$COATI" status --socket /run/a.sock; } | sed 's/^/        /'
    tail -n 1 /run/verdicts >> /run/all
done
must "some were taken and some were dropped" awk '{ alike += $1; taken += $5 } END { exit !(taken > 200 && alike - taken > 200) }' /run/all
kill $PID_a $PID_b && wait $PID_a $PID_b
# Policies that say none send in clear.
CLEAR_FROM="and src 192.0.2.254"
