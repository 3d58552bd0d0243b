# The LANs of a and b, in one namespace: verdicts.pl ROUND sends packets of many kinds through both, by its interfaces a and
# b, and says which did not fare alike: what a's data plane sealed and b's judged, and the other way round.
#
# The last packets each way, of protocols 96 to 98, are those that arrive whatever the other policies say.
use strict;
use warnings;
use Socket;
use Time::HiRes 'time';

my ($round) = @ARGV;
my @side = ('a', 'b');
my (@socket, @peer);
for my $at (0, 1) {
    open my $file, '<', "/sys/class/net/$side[$at]/ifindex" or die "$side[$at]: $!\n";
    chomp(my $index = <$file>);
    # ETH_P_ALL; the router's address is the one that the scenario gave it.
    socket $socket[$at], 17, SOCK_DGRAM, unpack 'S', pack 'n', 3 or die "AF_PACKET: $!\n";
    # PACKET_IGNORE_OUTGOING.
    setsockopt $socket[$at], 263, 23, 1 or die "AF_PACKET: $!\n";
    bind $socket[$at], pack 'S n i S C C a8', 17, 3, $index, 0, 0, 0, '' or die "bind: $!\n";
    $peer[$at] = sub { pack 'S n i S C C a8', 17, $_[0], $index, 0, 0, 6, pack 'C6 x2', 2, 0, 0, 0, 0, 10 + $at };
}

sub sum_of { my $sum = unpack '%32n*', $_[0]; $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16; ~$sum & 0xffff }

# packet SOURCE DESTINATION PROTOCOL PAYLOAD FRAGMENT, of which IPv4 has flags and offset
sub packet {
    my ($source, $destination, $protocol, $payload, $fragment) = @_;
    if ($source =~ /:/) {
        my @ends = map { Socket::inet_pton(AF_INET6, $_) } $source, $destination;
        return pack 'N n C C a16 a16 a*', 6 << 28, length $payload, $protocol, 64, @ends, $payload;
    }
    my @ends = map { inet_aton($_) } $source, $destination;
    my $header = pack 'C C n n n C C n a4 a4', 0x45, 0, 20 + length $payload, 7, $fragment // 0, 64, $protocol, 0, @ends;
    substr $header, 10, 2, pack 'n', sum_of($header);
    return $header . $payload;
}

# Of each family; nobody looks at lengths and checksums behind the IP header.
my @kinds;
for my $family ('10.%d.0.%d', 'fd00:%d::%d') {
    my $icmp = $family =~ /:/ ? 58 : 1;
    my @types = $family =~ /:/ ? (128, 129, 200) : (8, 0, 13);
    for my $hosts ([2, 2], [2, 200], [200, 2], [200, 200]) {
        for my $ports ([53, 53], [53, 80], [80, 53], [1000, 80], [1000, 2000]) {
            push @kinds, [$family, @$hosts, 17, "udp @$ports", pack 'n n n n', @$ports, 158, 0];
            push @kinds, [$family, @$hosts, 6, "tcp @$ports", pack 'n n N N C C n n n', @$ports, 1, 1, 0x50, 0x10, 99, 0, 0];
        }
        for my $code (0, 1) {
            push @kinds, [$family, @$hosts, $icmp, "icmp $_,$code", pack 'C C n N', $_, $code, 0, 0] for @types;
        }
        push @kinds, [$family, @$hosts, 99, 'protocol 99', ''];
        for my $key (undef, 7, 0x10007) {
            my $header = defined $key ? pack 'n n N', 0x2000, 0x0800, $key : pack 'n n', 0, 0x0800;
            push @kinds, [$family, @$hosts, 47, 'GRE, key ' . ($key // 'none'), $header];
        }
        # The first piece, with the ports that a policy would look at, and one behind it.
        for my $piece (1, 64 << 3) {
            my $name = $piece == 1 ? 'the first piece of udp 53 80' : 'another piece';
            my $header = $piece == 1 ? pack 'n n n n', 53, 80, 158, 0 : '';
            push @kinds, $icmp == 1
                ? [$family, @$hosts, 17, $name, $header, $piece == 1 ? 0x2000 : 64]
                : [$family, @$hosts, 44, $name, pack('C C n N', 17, 0, $piece, 7) . $header];
        }
    }
}
# By the tunnel of GRE, and the last ones.
push @kinds, ['172.16.%d.%d', 2, 2, 99, 'in GRE', ''], ['10.%d.0.%d', 2, 2, 96, 'in IPComp', ''],
    ['10.%d.0.%d', 2, 2, 97, 'in IPv6', ''], ['10.%d.0.%d', 2, 2, 98, 'the last', ''];

my (%sent, @taken);
sub receive {
    my ($seconds) = @_;
    my $ready = '';
    vec($ready, fileno $_, 1) = 1 for @socket;
    select $ready, undef, undef, $seconds or return 0;
    for my $at (grep { vec $ready, fileno $socket[$_], 1 } 0, 1) {
        defined recv $socket[$at], my $got, 4096, 0 or die "recv: $!\n";
        my ($number) = $got =~ /verdict $round @{[1 - $at]} (\d+) / or next;
        my $sent = $sent{1 - $at, $number};
        # An error quotes more than it is; TTL and checksum change on the way.
        next if length $got != length $sent;
        my $header = ord($sent) >> 4 == 6 ? 40 : 20;
        substr($got, $header) eq substr($sent, $header) or die "packet $number has changed on its way\n";
        $taken[1 - $at]{$number} = 1;
    }
    return 1;
}

for my $number (0 .. $#kinds) {
    my ($family, $near, $far, $protocol, undef, $header, $fragment) = @{$kinds[$number]};
    for my $way (0, 1) {
        my $source = sprintf $family, 1 + $way, $near;
        my $destination = sprintf $family, 2 - $way, $far;
        my $payload = $header . "verdict $round $way $number " . 'much the same ' x 10;
        my $packet = $sent{$way, $number} = packet($source, $destination, $protocol, $payload, $fragment);
        my $type = $family =~ /:/ ? 0x86dd : 0x0800;
        defined send $socket[$way], $packet, 0, $peer[$way]->($type) or die "send: $!\n";
    }
    1 while receive(0);
}
my $until = time + 5;
1 while receive(0.1) || time < $until && grep { !$taken[$_]{$#kinds} } 0, 1;
for my $way (0, 1) {
    $taken[$way]{$_} or die "$kinds[$_][4] from $side[$way] did not arrive\n" for $#kinds - 2 .. $#kinds;
}
my ($alike, $arrived) = (0, 0);
for my $number (0 .. $#kinds - 1) {
    my ($family, $near, $far, undef, $name) = @{$kinds[$number]};
    my @verdict = map { $taken[$_]{$number} ? 'taken' : 'dropped' } 0, 1;
    $arrived++ if $verdict[0] eq 'taken';
    if ($verdict[0] eq $verdict[1]) { $alike++; next }
    printf "$name, " . ($family =~ s/%d/*/r) . " to .$far: kernel $verdict[0], embedded $verdict[1]\n", $near;
}
print "$alike of $#kinds alike, $arrived taken\n";
exit($alike != $#kinds);
