# Keys by hand for every algorithm of ESP and AH, for extended sequence numbers, for bundles and tunnels: the embedded data
# plane in a and the kernel's in b are given the same words, and pings cross both ways.

up_in() { # namespace dataplane
    ip netns exec $1 "$COATI" up /run/site-$1 --socket /run/$1.sock --log $WORK/coati-$1.log --dataplane $2 2>> $WORK/coati-$1.stderr &
    eval PID_$1=$!
    within 10 "$1 answers, with $2" "$COATI" status --socket /run/$1.sock
}
key() { awk -v bytes=$1 'BEGIN { printf "0x"; for (i = 1; i <= bytes; i++) printf "%02x", i * 7 % 256 }'; }
# setkey_of HOST OUT IN RULES SA…: in the rules @ stands for the ends of a tunnel.
setkey_of() {
    host=$1 out=$2 in=$3 rules=$4; shift 4
    {
        echo 'flush; spdflush;'
        for sa in "$@"; do echo "add ${out%-*} ${out#*-} $sa; add ${in%-*} ${in#*-} $sa;"; done
        echo "spdadd ${out%-*}/32 ${out#*-}/32 gre -P out ipsec" $(echo $rules | sed "s/@/$out/g") ';'
        echo "spdadd ${in%-*}/32 ${in#*-}/32 gre -P in ipsec" $(echo $rules | sed "s/@/$in/g") ';'
    } > /run/setkey-$host
    "$COATI" setkey -s /run/$host.sock -f /run/setkey-$host
}
crosses() { # namespace source destination
    ip netns exec $1 ping -n -q -I $2 -i 0.02 -c 5 -W 5 $3 && ip netns exec $1 ping -n -q -I $2 -s 1200 -i 0.02 -c 2 -W 5 $3
}
both_ways() { crosses a $A2 $B2 && crosses b $B2 $A2; }
suite() { # what rules sa…
    what=$1; shift
    { setkey_of a $A1-$B1 $B1-$A1 "$@" && setkey_of b $B1-$A1 $A1-$B1 "$@"; } > /run/setkey-said 2>&1 ||
        { failed "$what is taken by both"; sed 's/^/        /' /run/setkey-said; return; }
    must "$what" both_ways || { ip -n b xfrm policy; ip -s -n b xfrm state; in_b cat /proc/net/xfrm_stat; "$COATI" status --socket /run/a.sock; } | sed 's/^/        /'
}

network
for side in a b; do
    cp -r "$SITES/manual-keys/site-$side" /run/site-$side
    chmod 755 /run/site-$side
    chmod 600 /run/site-$side/*
done
up_in b xfrm
up_in a embedded
# While SAs are replaced, a packet of the kernel's own would wait for keys, and others behind it.
in_b sh -c 'echo 1 > /proc/sys/net/ipv6/conf/gre0/disable_ipv6'

esp="esp 0x1001 -m transport -u 1 -r 8"
for cipher in "aes-cbc 16" "aes-cbc 24" "aes-cbc 32" "aes-ctr 20" "aes-ctr 36" "3des-cbc 24"; do
    set -- $cipher
    suite "ESP with $1, $(($2 * 8)) bits, hmac-sha1" "esp/transport//unique:1" "$esp -E $1 $(key $2) -A hmac-sha1 $(key 20)"
done
for auth in "hmac-md5 16" "hmac-sha256 32" "hmac-sha256-96 32" "hmac-sha384 48" "hmac-sha512 64" "aes-xcbc-mac 16"; do
    set -- $auth
    suite "ESP with null, $1" "esp/transport//unique:1" "$esp -E null -A $1 $(key $2)"
    suite "AH with $1" "ah/transport//unique:1" "ah 0x1001 -m transport -u 1 -r 8 -A $1 $(key $2)"
done
for aead in "aes-gcm-16 20" "aes-gcm-16 28" "aes-gcm-16 36" "chacha20-poly1305 36"; do
    set -- $aead
    suite "ESP with $1, $(($2 * 8)) bits" "esp/transport//unique:1" "$esp -E $1 $(key $2)"
    suite "ESP with $1, $(($2 * 8)) bits, extended sequence numbers" "esp/transport//unique:1" "$esp -f esn -E $1 $(key $2)"
done
cbc="-E aes-cbc $(key 16) -A hmac-sha256 $(key 32)" sha1="-A hmac-sha1 $(key 20)"
suite "ESP with aes-cbc, extended sequence numbers, 4096 packets" "esp/transport//unique:1" "esp 0x1001 -m transport -u 1 -r 512 -f esn $cbc"
suite "AH, extended sequence numbers" "ah/transport//unique:1" "ah 0x1001 -m transport -u 1 -r 8 -f esn $sha1"
suite "ESP in tunnel mode" "esp/tunnel/@/unique:1" "esp 0x1001 -m tunnel -u 1 -r 8 $cbc"
suite "AH in tunnel mode" "ah/tunnel/@/unique:1" "ah 0x1001 -m tunnel -u 1 -r 8 $sha1"
suite "ESP, and AH around it" "esp/transport//unique:1 ah/transport//unique:2" "$esp $cbc" "ah 0x1002 -m transport -u 2 -r 8 $sha1"
suite "IPComp, ESP, AH" "ipcomp/transport//use esp/transport//unique:1 ah/transport//unique:2" \
    "ipcomp 0x300 -m transport -C deflate" "$esp $cbc" "ah 0x1002 -m transport -u 2 -r 8 $sha1"
suite "ESP in transport mode, and AH's tunnel around it" "esp/transport//unique:1 ah/tunnel/@/unique:2" \
    "$esp $cbc" "ah 0x1002 -m tunnel -u 2 -r 8 $sha1"
suite "ESP's tunnel, and AH around it" "esp/tunnel/@/unique:1 ah/transport//unique:2" \
    "esp 0x1001 -m tunnel -u 1 -r 8 $cbc" "ah 0x1002 -m transport -u 2 -r 8 $sha1"
suite "AH twice" "ah/transport//unique:1 ah/transport//unique:2" "ah 0x1001 -m transport -u 1 -r 8 $sha1" "ah 0x1002 -m transport -u 2 -r 8 $sha1"
# Inside of ESP the kernel verifies AH with the number of ESP still in the IP header, and does not even take its own; what it sends
# is right (RFC 4302 section 3.3.3.1.1.1: the protocol is that of AH).
received() { ip -s -n $1 link show gre0 | awk '/RX:/ { getline; print $2 }'; }
set -- "ah/transport//unique:2 esp/transport//unique:1" "$esp $cbc" "ah 0x1002 -m transport -u 2 -r 8 $sha1"
must "AH, and ESP around it, in a" setkey_of a $A1-$B1 $B1-$A1 "$@"
must "AH, and ESP around it, in b" setkey_of b $B1-$A1 $A1-$B1 "$@"
before=$(received a)
in_b ping -n -q -I $B2 -i 0.02 -c 5 -W 1 $A2 > /run/ping
must "AH, and ESP around it: what the kernel sends" test $(($(received a) - before)) = 5
for host in a b; do must "setkey -D in $host" "$COATI" setkey -s /run/$host.sock -D; done
kill $PID_a $PID_b && wait $PID_a $PID_b
