# Coati with the kernel as data plane (--dataplane xfrm) and strongSwan: renewals under pings of which none is lost, dumps that agree with the kernel's, a module that is missing, an end and a crash that leave nothing behind.

. "$TREE/guest/kernel.sh"
COATI_FLAGS="--dataplane xfrm"
network
ln -s "$COATI" /run/setkey
coati_files "$SITES/seed/freebsd-a"
without esp4 'the kernel has no esp: load its module esp4'
without ip_gre 'the kernel has no GRE: load its module ip_gre'
must "what did not start has left nothing behind" nothing_is_left a
with_strongswan 'xfrm: the Linux kernel'
