# A path that carries 1300 bytes only: what must not be cut is told of, exactly; the rest is cut before ESP; TCP never has to be. Keepalives of GRE are answered.

state() { # source destination spi reqid encryption-key authentication-key
    ip -n b xfrm state add src $1 dst $2 proto esp spi $3 reqid $4 mode transport replay-window 32 \
        enc 'cbc(aes)' $5 auth-trunc 'hmac(sha1)' $6 96
}
policy() { # direction source destination reqid
    ip -n b xfrm policy add dir $1 src $2/32 dst $3/32 proto gre tmpl src $2 dst $3 proto esp reqid $4 mode transport
}
counter() { coati status --json | tr -d ' \n' | tr '[' '\n' | sed -n "s/^\"$1\",\([0-9]*\).*/\1/p" | grep . || echo 0; }
network
# Towards b only: what comes from there is not Coati's.
ip -n internet route replace 198.51.100.0/24 dev to-b src 198.51.100.254 mtu lock 1300
states() {
    ip -n b xfrm state flush
    state $A1 $B1 0x1001 1 0x00112233445566778899aabbccddeeff 0x000102030405060708090a0b0c0d0e0f10111213
    state $B1 $A1 0x1002 2 0xffeeddccbbaa99887766554433221100 0x131211100f0e0d0c0b0a09080706050403020100
}
states
policy out $B1 $A1 2
policy in $A1 $B1 1
gre_in_b

coati_files "$SITES/manual-keys/site-a"
coati_up
ip -n a route add 10.2.0.0/24 dev gre0
ip -n b route add 10.1.0.0/24 dev gre0
pings a $A2 $B2 5

# What fits: 1300 bytes without IP header, SPI, sequence number, IV and ICV are 1244, of which 77 whole blocks are 1232;
# without ESP's trailer and GRE's header 1226.
told() { in_a ping -q -n -c 1 -W 1 -s 1372 -M do $LAN_B > /run/told 2>&1; in_a ping -n -c 1 -W 1 -s 1372 -M do $LAN_B 2>&1 | grep -q 'mtu *= *1226'; }
within 10 "a ping of 1400 bytes that must not be cut: the sender hears that 1226 fit" told
must "so many fit" in_a ping -q -n -c 1 -W 5 -s 1198 -M do $LAN_B
must "the log says why" log_has 1 '192.0.2.254 lets no packets over 1300 bytes from 192.0.2.1 to 198.51.100.1 pass'
# To another address, of whose path the sender has not heard: its kernel sends whole packets of the tunnel's MTU.
in_a ping -q -n -c 20 -i 0.05 -W 5 -s 1372 -M dont $B2 > /run/whole
must "pings of 1400 bytes that may be cut: $(in_short /run/whole)" grep -q ' 0% packet loss' /run/whole
must "they were cut before ESP" test "$(counter cut-before-esp)" -ge 20
in_a ping -q -n -c 10 -i 0.05 -W 5 -s 4000 -M dont $B2 > /run/cut
must "of 4028 bytes: $(in_short /run/cut)" grep -q ' 0% packet loss' /run/cut

# A stranger talks of a packet that was never sent: nothing changes.
ip netns exec internet perl -e '
    use Socket;
    my ($to, $peer) = @ARGV;
    my $original = pack("C C n n n C C n a4 a4", 0x45, 0, 1300, 1, 0x4000, 64, 50, 0, inet_aton($to), inet_aton($peer))
        . pack("N N", 0x1001, 0x7fffffff);
    my $icmp = pack("C C n n n", 3, 4, 0, 0, 600) . $original;
    my $sum = unpack("%32n*", $icmp);
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    substr $icmp, 2, 2, pack "n", ~$sum & 0xffff;
    socket my $socket, AF_INET, SOCK_RAW, 1 or die "$!\n";
    send $socket, $icmp, 0, pack_sockaddr_in(0, inet_aton($to)) or die "$!\n";
' $A1 $B1

untrusted() { test "$(counter icmp-about-nothing-sent)" = 1; }
within 10 "ICMP of a stranger about a packet that was never sent: counted" untrusted
must "and not believed" in_a ping -q -n -c 1 -W 5 -s 1198 -M do $LAN_B

# TCP over it, with the offloads of TUN: as much as it likes, and nothing is ever cut.
head -c 3000000 /dev/urandom > /run/sent
in_b busybox timeout 40 busybox nc -l -p 5001 -e busybox dd of=/run/received 2> /run/dd &
RECEIVER=$!
listens() { in_b ss -ltn | grep -q :5001; }
within 10 "a program listens" listens
in_a busybox timeout 30 busybox nc $LAN_B 5001 < /run/sent
wait $RECEIVER
must "3 MB by TCP arrive as they were" cmp /run/sent /run/received
must "its largest segment was lowered" test "$(counter tcp-mss-clamped)" -ge 1
fragments=$(tcpdump -n -r $WORK/internet.pcap 'src 192.0.2.1 and ip[6:2] & 0x3fff != 0' | wc -l)
must "of Coati's packets, pieces on the internet: $fragments" test "$fragments" = 0

must "keepalives of GRE, as Cisco's: $(in_b perl $TREE/guest/gre-keepalive.pl gre0 $A1 $B1 20)" \
    test "$(counter gre-keepalives-answered)" = 20

# With the kernel's own tunnel, which would drop them.
kill $COATI_PID
wait $COATI_PID
states
COATI_FLAGS="--dataplane xfrm"
coati_up
pings a $A2 $B2 5
must "with xfrm: keepalives of GRE are answered" in_b perl $TREE/guest/gre-keepalive.pl gre0 $A1 $B1 20
