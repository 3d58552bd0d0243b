#!/bin/sh
# strongSwan's ESP in user space (the kernel-libipsec plugin) between two namespaces of this machine, and iperf3 through
# it; before it, iperf3 over the bare veth pair.
#
#   unshare --net --mount --pid --fork --kill-child --mount-proc tests/bench/strongswan.sh PROPOSAL SECONDS RUNS WORK
#
# As the first process of its namespaces it takes everything with it when it ends. Lines: see lib.sh; the rows are
# `veth` and `tunnel`.
set -eu

PROPOSAL=$1 SECONDS_EACH=$2 RUNS=$3 WORK=$4
A=192.0.2.1 B=192.0.2.2 IN_A=10.1.0.1 IN_B=10.2.0.1
DAEMON=charon-systemd
. "$(dirname "$0")/lib.sh"

# A site's own /run holds its sockets; the host's is not touched.
mount -t tmpfs tmpfs /run
unshare --net --mount sh -c 'mount -t tmpfs tmpfs /run && exec sleep 86400' &
HOLDER=$!
at_a() { "$@"; }
at_b() { nsenter --target $HOLDER --net --mount -- "$@"; }

# Until the other namespace is another one indeed.
while [ "$(readlink /proc/$HOLDER/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
sleep 0.1

ip link add veth0 type veth peer name veth0 netns $HOLDER
ip link set lo up
ip addr add $A/24 dev veth0
ip link set veth0 up
ip addr add $IN_A/32 dev lo
at_b ip link set lo up
at_b ip addr add $B/24 dev veth0
at_b ip link set veth0 up
at_b ip addr add $IN_B/32 dev lo

measure veth $A $B

configure() { # site local remote local-inside remote-inside
    mkdir -p $WORK/$1
    cat > $WORK/$1/strongswan.conf <<END
charon-systemd {
    load = openssl random nonce aes sha1 sha2 hmac kdf gmp gcm kernel-libipsec kernel-netlink socket-default updown vici
    plugins {
        kernel-libipsec { load = 10 }
        vici { socket = unix:///run/charon.vici }
    }
    filelog { file { path = $WORK/$1/charon.log
                     default = 1
                     flush_line = yes } }
}
END
    cat > $WORK/$1/swanctl.conf <<END
connections {
    peer {
        version = 2
        local_addrs = $2
        remote_addrs = $3
        proposals = aes128-sha256-modp2048
        encap = yes
        local { auth = psk
                id = $2 }
        remote { auth = psk
                 id = $3 }
        children {
            lan {
                local_ts = $4/32
                remote_ts = $5/32
                esp_proposals = $PROPOSAL
            }
        }
    }
}
secrets { ike-peer { secret = "for measuring only" } }
END
}

configure a $A $B $IN_A $IN_B
configure b $B $A $IN_B $IN_A
STRONGSWAN_CONF=$WORK/a/strongswan.conf /usr/sbin/charon-systemd > $WORK/a/stdout 2>&1 &
at_b env STRONGSWAN_CONF=$WORK/b/strongswan.conf /usr/sbin/charon-systemd > $WORK/b/stdout 2>&1 &
swan() { swanctl "$@" --uri unix:///run/charon.vici; }
tries=0
until swan --stats > /dev/null 2>&1 && at_b swanctl --stats --uri unix:///run/charon.vici > /dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then
        echo "FAILED strongSwan does not answer: $WORK/a/stdout, $WORK/a/charon.log"
        exit 1
    fi
    sleep 0.1
done
swan --load-all --noprompt --file $WORK/a/swanctl.conf > $WORK/a/load 2>&1
at_b swanctl --load-all --noprompt --file $WORK/b/swanctl.conf --uri unix:///run/charon.vici > $WORK/b/load 2>&1
swan --initiate --child lan > $WORK/a/initiate 2>&1 || {
    echo "FAILED strongSwan's tunnel does not come up: $WORK/a/initiate"
    exit 1
}
# The kernel has no ESP of its own here: it is in user space indeed.
if ! ip link show ipsec0 > /dev/null || [ -n "$(ip xfrm state)" ]; then
    echo "FAILED strongSwan did not take its kernel-libipsec plugin: $WORK/a/charon.log"
    exit 1
fi
measure tunnel $IN_A $IN_B
