# Coati with the kernel as data plane (--dataplane xfrm) and strongSwan: renewals under pings of which none is lost, dumps
# that agree with the kernel's, an end that leaves nothing behind, and a crash whose leftovers the next start removes.

# What the kernel of a has of SAs: SPI and reqid, a line each.
kernel_sas() { ip -n a xfrm state | awk '/proto/ { spi = $4; printf "%d %d\n", strtonum(spi), $6 }' | sort; }
nothing_is_left() {
    test -z "$(ip -n a xfrm state)" && test -z "$(ip -n a xfrm policy | grep -v socket | grep 'src ')" \
        && ! ip -n a link show gre0
}

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
sed -i 's/^lifetime time 8 hour;/lifetime time 15 sec;/; s/^lifetime time 4 hour;/lifetime time 8 sec;/' /run/site/racoon.conf
COATI_FLAGS="--dataplane xfrm"
coati_up
ip -n a xfrm policy > $WORK/policies
ip -n a -d link show gre0 > $WORK/link
coati status > $WORK/status
pings a $A2 $B2 1
ip -n a xfrm state > $WORK/states
in_a $COATI setkey -s /run/coati.sock -D > $WORK/setkey-D
in_a $COATI setkey -s /run/coati.sock -DP > $WORK/setkey-DP
stream_of_pings 20
