# ike-scan looks at Coati: it sees the one proposal that is configured and no more, and every datagram brings one at most.

# datagrams FROM: how many of IKE, and their bytes in all.
datagrams() { tcpdump -n -q -r $WORK/internet.pcap src $1 and udp port 500 | awk '{ n++; bytes += $NF } END { print n + 0, bytes + 0 }'; }

scan() { name=$1; shift; in_b ike-scan -M "$@" $A1 > $WORK/$name; }

network
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^passive off;/passive on;/' /run/site/racoon.conf
coati_up
scan main --trans=5,2,1,2 --trans=7/128,2,1,2
must "main mode: the proposal of the two that is ours" \
    grep -q 'SA=(Enc=AES Hash=SHA1 Auth=PSK Group=2:modp1024 KeyLength=128 LifeType=Seconds LifeDuration(4)=0x00007080)' $WORK/main
must "main mode: no name, no version" sh -c "! grep -i -E 'coati|VID=.*(string|version)' $WORK/main"
scan none --trans=5,1,1,2
must "nothing acceptable: NO-PROPOSAL-CHOSEN" grep -q 'Notify message 14 (NO-PROPOSAL-CHOSEN)' $WORK/none
scan closed --aggressive --id=b.example --trans=7/128,2,1,2
must "aggressive mode, which is not configured: silence" grep -q '0 returned handshake; 0 returned notify' $WORK/closed
scan backoff --showbackoff=12 --trans=7/128,2,1,2
must "no repetitions by which it is known" test "$(grep -c "^$A1	[0-9]" $WORK/backoff)" = 1

sed -i 's/^exchange_mode main;/exchange_mode main, aggressive;/; s/^passive on;/&\nmy_identifier fqdn "a.example";/' /run/site/racoon.conf
echo 'b.example an-example-key-of-the-seed-replace-it-8f1d27c4b06e' >> /run/site/psk.txt
reload
scan aggressive --aggressive --id=b.example --trans=7/128,2,1,2
must "aggressive mode: its proposal" grep -q 'SA=(Enc=AES Hash=SHA1 Auth=PSK Group=2:modp1024 KeyLength=128' $WORK/aggressive
must "aggressive mode: its identity" grep -q 'ID(Type=ID_FQDN, Value=a.example)' $WORK/aggressive

asked=$(datagrams $B1) answered=$(datagrams $A1)
must "no more than was asked: ${asked% *} datagrams and ${answered% *} answers" test "${answered% *}" -le "${asked% *}"
LEAST_ESP=0
