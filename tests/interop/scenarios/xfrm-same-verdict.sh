# Random policies, by a seed: what the sender does is seldom what the receiver wants. Packets of the embedded data plane in
# a are judged by the kernel in b, and those of the kernel, sent by the same policy, by the embedded one, which wants the
# same: both say the same.

up_in() { # namespace dataplane
    ip netns exec $1 "$COATI" up /run/site-$1 --socket /run/$1.sock --log $WORK/coati-$1.log --dataplane $2 2>> $WORK/coati-$1.stderr &
    eval PID_$1=$!
    within 10 "$1 answers, with $2" "$COATI" status --socket /run/$1.sock
}
key=0x000102030405060708090a0b0c0d0e0f10111213
# policies SEED: lines of what is sent and what is wanted. The sender names its SAs, since a `require` takes SAs of any reqid
# here and none of them in Linux; AH is outside of ESP, the kernel verifies it there only.
policies() {
    awk -v seed=$1 -v count=14 '
        function of(list,   words, many) { many = split(list, words, " "); return words[int(rand() * many) + 1] }
        function rules(levels,   kind, text) {
            kind = of("esp esp ah ah esp-ah esp-ah tunnel tunnel-ah ah-tunnel none discard")
            if (kind == "none" || kind == "discard") return kind
            text = kind
            gsub("tunnel", "esp/tunnel/@/L", text); gsub("-", " ", text)
            if (kind !~ /^(tunnel|ah-tunnel)/) sub(/^esp/, "esp/transport//L", text)
            sub(/^ah/, "ah/transport//L", text); sub(/ ah/, " ah/transport//L", text)
            while (text ~ /L/) sub(/L/, of(levels), text)
            return "ipsec " text
        }
        BEGIN { srand(seed); for (n = 0; n < count; n++) print rules("unique:1 unique:2") ";" rules("unique:1 unique:2 require require use") }'
}
# load HOST OUT IN SENT WANTED
load() {
    {
        echo 'flush; spdflush;'
        for way in "${2%-*} ${2#*-}" "${3%-*} ${3#*-}"; do
            for reqid in 1 2; do
                echo "add $way esp 0x100$reqid -m transport -u $reqid -r 8 -E null -A hmac-sha1 $key;"
                echo "add $way ah 0x101$reqid -m transport -u $reqid -r 8 -A hmac-sha1 $key;"
                echo "add $way esp 0x102$reqid -m tunnel -u $reqid -r 8 -E null -A hmac-sha1 $key;"
            done
        done
        echo "spdadd ${2%-*} ${2#*-} gre -P out $(echo "$4" | sed "s/@/$2/g");"
        echo "spdadd ${3%-*} ${3#*-} gre -P in $(echo "$5" | sed "s/@/$3/g");"
    } > /run/setkey-$1
    "$COATI" setkey -s /run/$1.sock -f /run/setkey-$1
}
received() { ip -s -n $1 link show gre0 | awk '/RX:/ { getline; print $2 }'; }
# arrives FROM SOURCE TO DESTINATION: whether what is sent comes out of the tunnel.
arrives() {
    before=$(received $3)
    ip netns exec $1 ping -n -q -I $2 -i 0.02 -c 2 -W 1 $4 > /run/ping 2>&1
    if [ "$(received $3)" -gt "$before" ]; then VERDICT=taken; else VERDICT=dropped; fi
}

network
for side in a b; do
    cp -r "$SITES/manual-keys/site-$side" /run/site-$side
    chmod 755 /run/site-$side
    chmod 600 /run/site-$side/*
done
up_in b xfrm
up_in a embedded
in_b sh -c 'echo 1 > /proc/sys/net/ipv6/conf/gre0/disable_ipv6'
SEED=${SEED:-6}
fact "seed $SEED"
policies $SEED > /run/policies
while IFS=';' read -r sent wanted; do
    must "both take: $sent | $wanted" load a $A1-$B1 $B1-$A1 "$sent" "$wanted" && load b $B1-$A1 $A1-$B1 "$sent" "$wanted" || continue
    arrives a $A2 b $B2; kernel=$VERDICT
    arrives b $B2 a $A2; embedded=$VERDICT
    must "kernel $kernel, embedded $embedded: sent $sent, wanted $wanted" test $kernel = $embedded
    echo $kernel >> /run/verdicts
done < /run/policies
must "some were taken and some were dropped" sh -c "grep -q taken /run/verdicts && grep -q dropped /run/verdicts"
kill $PID_a $PID_b && wait $PID_a $PID_b
# Policies that say none send in clear.
CLEAR_FROM="and src 192.0.2.254"
