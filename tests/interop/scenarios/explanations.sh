# Mistakes in either side's files: Coati names the line and both values, in both roles, and goes on when they are corrected.

# edit FILE EXPRESSION: a change of a file of Coati's, and it reads them again.
edit() {
    sed -i "$2" /run/site/$1
    must "$1: $2" in_a "$COATI" racoonctl -s /run/coati.sock reload-config
}

# explained PATTERN…: `coati show ike` and the log have it.
explained() {
    coati show ike > $WORK/ike-$step
    for pattern; do grep -Eq "$pattern" $WORK/ike-$step || { cat $WORK/ike-$step; return 1; }; done
}

# begins a|b: this side begins; a packet does that, or strongSwan's own command.
begins() {
    step=$((step + 1))
    swanctl --terminate --ike site-a --force > /run/terminated 2>&1
    case $1 in
    a) in_a ping -n -c 1 -W 1 $B2 > /run/vain ;;
    b) swanctl --initiate --child gre --timeout 2 > /run/initiated 2>&1 ;;
    esac
}

step=0
network
sed 's/start_action = .*/start_action = none/' "$PEERS/swanctl.conf" > /run/swanctl.conf
# So it has no policy while it has no SA, and may answer the first packet in clear.
CLEAR_FROM="and src $A1"
strongswan_up /run/swanctl.conf
gre_in_b
coati_files "$SITES/seed/freebsd-a"
coati_up

edit psk.txt 's/an-example/another/'
begins a
within 10 "wrong key, Coati begins" explained 'failed .*pre-shared key' 'psk.txt:1'
edit psk.txt 's/another/an-example/'
within 20 "corrected: pings are answered" in_a ping -n -c 1 -W 1 $B2

edit racoon.conf 's/^passive off;/passive on;/'
edit psk.txt 's/an-example/another/'
begins b
within 10 "wrong key, strongSwan begins" explained 'failed .*pre-shared key' 'psk.txt:1'
edit psk.txt 's/another/an-example/'

edit racoon.conf 's/^dh_group 2;/dh_group 14;/'
begins b
within 10 "another group, strongSwan begins" explained 'decided at .*racoon.conf:[0-9]+' 'ours .*modp2048' 'theirs .*modp1024'
edit racoon.conf 's/^dh_group 14;/dh_group 2;/'

edit racoon.conf 's/^encryption_algorithm aes, 3des;/encryption_algorithm 3des;/'
begins b
within 10 "another cipher of ESP, strongSwan begins" explained 'decided at .*racoon.conf:[0-9]+' 'ours .*3des' 'theirs .*aes 128'
edit racoon.conf 's/^passive on;/passive off;/'
begins a
within 10 "another cipher of ESP, Coati begins" explained 'NO-PROPOSAL-CHOSEN' 'decided at .*racoon.conf:[0-9]+' 'ours .*3des'
edit racoon.conf 's/^encryption_algorithm 3des;/encryption_algorithm aes, 3des;/'

edit racoon.conf 's/^dh_group 2;/dh_group 14;/'
begins a
within 10 "another group, Coati begins" explained 'NO-PROPOSAL-CHOSEN' 'decided at .*racoon.conf:[0-9]+' 'ours .*modp2048'
coati status > $WORK/status
must "coati status says so too" grep -q 'broken .*NO-PROPOSAL-CHOSEN' $WORK/status
edit racoon.conf 's/^dh_group 14;/dh_group 2;/'
within 20 "corrected: pings are answered" in_a ping -n -c 1 -W 1 $B2
pings b $B2 $A2 10
