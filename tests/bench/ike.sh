#!/bin/sh
# IKEv1 handshakes with one responder, from many initiators in one process (tests/bench/initiators), in a
# network namespace of this machine.
#
#   unshare --net --mount --pid --fork --kill-child --mount-proc tests/bench/ike.sh \
#       coati|strongswan COATI INITIATORS GROUP PEERS WINDOW LINGER FLOOD WORK
#
# Main mode with a pre-shared key, then quick mode with PFS in the same group; AES-128 and SHA-1 in both phases; ESP in
# UDP on both, because strongSwan's ESP in user space knows nothing else. Neither writes a log. LINGER seconds after the
# start, what the responder has grown is looked at once more; FLOOD invented first messages instead of PEERS when
# it is not 0. Lines: those of the initiators, then `counter NAME: VALUE` of Coati's.
set -eu

WHO=$1 COATI=$2 INITIATORS=$3 GROUP=$4 PEERS=$5 WINDOW=$6 LINGER=$7 FLOOD=$8 WORK=$9
ADDRESS=192.0.2.1
case $GROUP in
    2) MODP=modp1024 ;;
    14) MODP=modp2048 ;;
    *) echo "FAILED no group $GROUP here"; exit 1 ;;
esac

mount -t tmpfs tmpfs /run
ip link set lo up
ip addr add $ADDRESS/32 dev lo
rm -rf "$WORK/ike"
mkdir -p "$WORK/ike"
cd "$WORK/ike"

if [ "$WHO" = coati ]; then
    MODE=transport
    cat > racoon.conf <<END_OF_FILE
log error;
listen {
    isakmp $ADDRESS [500];
    isakmp_natt $ADDRESS [4500];
    adminsock disabled;
}
remote anonymous {
    exchange_mode main;
    nat_traversal force;
    generate_policy unique;
    passive on;
    proposal_check obey;
    dpd_delay 20;
    lifetime time 8 hour;
    proposal {
        encryption_algorithm aes;
        hash_algorithm sha1;
        authentication_method pre_shared_key;
        dh_group $GROUP;
    }
}
sainfo anonymous {
    pfs_group $GROUP;
    lifetime time 4 hour;
    encryption_algorithm aes;
    authentication_algorithm hmac_sha1;
    compression_algorithm deflate;
}
END_OF_FILE
    echo "* for measuring only" > psk.txt
    chmod 600 psk.txt
    "$COATI" up . --socket /run/coati.sock --log "$WORK/ike/log" > stdout 2>&1 &
    RESPONDER=$!
    ready() { [ -S /run/coati.sock ]; }
else
    MODE=tunnel
    cat > strongswan.conf <<END_OF_FILE
charon-systemd {
    load = openssl random nonce aes sha1 sha2 hmac kdf gmp kernel-libipsec kernel-netlink socket-default vici
    ikesa_table_size = 16384
    ikesa_table_segments = 16
    block_threshold = 0
    init_limit_half_open = 0
    plugins {
        kernel-libipsec { load = 10 }
        vici { socket = unix:///run/charon.vici }
    }
    filelog { file { path = $WORK/ike/log
                     default = -1 } }
    journal { default = -1 }
    syslog { daemon { default = -1 }
             auth { default = -1 } }
}
END_OF_FILE
    cat > swanctl.conf <<END_OF_FILE
connections {
    anybody {
        version = 1
        local_addrs = $ADDRESS
        proposals = aes128-sha1-$MODP
        encap = yes
        unique = never
        rekey_time = 8h
        dpd_delay = 20s
        local { auth = psk }
        remote { auth = psk
                 id = %any }
        children {
            host {
                local_ts = $ADDRESS/32
                remote_ts = dynamic
                esp_proposals = aes128-sha1-$MODP
                rekey_time = 4h
            }
        }
    }
}
secrets { ike-anybody { secret = "for measuring only" } }
END_OF_FILE
    STRONGSWAN_CONF=$WORK/ike/strongswan.conf /usr/sbin/charon-systemd > stdout 2>&1 &
    RESPONDER=$!
    ready() { swanctl --stats --uri unix:///run/charon.vici > /dev/null 2>&1; }
fi
tries=0
until ready; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then
        echo "FAILED $WHO does not start: $(tail -3 stdout)"
        exit 1
    fi
    sleep 0.1
done
if [ "$WHO" = strongswan ]; then
    swanctl --load-all --noprompt --file swanctl.conf --uri unix:///run/charon.vici > load 2>&1
fi

if [ "$FLOOD" != 0 ]; then
    "$INITIATORS" $ADDRESS $RESPONDER $GROUP 1 1 $MODE "$FLOOD"
else
    sleep "$LINGER" | "$INITIATORS" $ADDRESS $RESPONDER $GROUP "$PEERS" "$WINDOW" $MODE
fi
if [ "$WHO" = coati ]; then
    "$COATI" status --socket /run/coati.sock 2>&1 | grep -E 'timers: |ike: ' | sed 's/^ *counter */counter /' || true
fi
