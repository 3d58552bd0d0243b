# Asks with GRE keepalives as Cisco does, and says how many of COUNT were answered: gre-keepalive.pl INTERFACE ASKED OURS COUNT
#
# A keepalive is a packet in the tunnel that is its own answer: GRE of protocol 0, from the one that is asked to us.
use strict;
use warnings;
use Socket;

my ($interface, $asked, $ours, $count) = @ARGV;
open my $index, '<', "/sys/class/net/$interface/ifindex" or die "$interface: $!\n";
chomp(my $number = <$index>);
socket my $tunnel, 17, SOCK_DGRAM, 0 or die "AF_PACKET: $!\n";
socket my $gre, AF_INET, SOCK_RAW, 47 or die "raw socket: $!\n";
my $header = pack 'C C n n n C C n a4 a4', 0x45, 0xc0, 24, 1, 0, 255, 47, 0, inet_aton($asked), inet_aton($ours);
my $sum = unpack('%32n*', $header);
$sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
substr $header, 10, 2, pack 'n', ~$sum & 0xffff;
my $answered = 0;
$SIG{ALRM} = sub { print "$answered of $count answered\n"; exit 1 };
alarm 10;
for (1 .. $count) {
    send $tunnel, $header . pack('n n', 0, 0), 0, pack 'S n i S C C a8', 17, 0x0800, $number, 0, 0, 0, '' or die "send: $!\n";
    while (1) {
        defined recv $gre, my $packet, 2048, 0 or die "recv: $!\n";
        my ($protocol) = unpack 'x22 n', $packet;
        last if length $packet == 24 && $protocol == 0;
    }
    $answered++;
}
print "$answered of $count answered\n";
