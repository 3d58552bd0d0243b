# What scenarios are made of: the network, the programs on it, and ways to say what was found.
#
#   a --em0-- internet --em0-- b        the addresses are those of examples/seed
#
# Coati runs in a, its peer in b; each has a LAN on em1.

A1=192.0.2.1 B1=198.51.100.1 A2=203.0.113.1 B2=203.0.113.2 LAN_A=10.1.0.1 LAN_B=10.2.0.1
SITES=${TREE%/tests/interop}/examples
PEERS=$TREE/peers

ok() { echo "ok      $*"; }
failed() { HAS_FAILED=1; echo "FAILED  $*"; }
fact() { echo "        $*"; }

# Seconds since the guest's start, to 0.01 s, in hundredths.
now() {
    read -r uptime _ < /proc/uptime
    NOW=${uptime%.*}${uptime#*.}
    NOW=${NOW#0}
}

# must TEXT COMMAND…: the command succeeds.
must() {
    text=$1; shift
    if "$@" > /run/must 2>&1; then ok "$text"; else failed "$text"; sed 's/^/        /' /run/must | tail -n 20; return 1; fi
}

# within SECONDS TEXT COMMAND…: the command succeeds at last; says how long it took. Without it the rest of the
# scenario would be in vain.
within() {
    seconds=$1 text=$2; shift 2
    now; began=$NOW
    while ! "$@" > /run/within 2>&1; do
        now
        if [ $((NOW - began)) -gt $((seconds * 100)) ]; then
            failed "$text: not within $seconds s"
            sed 's/^/        /' /run/within | tail -n 30
            finish
        fi
        sleep 0.1
    done
    now; took=$((NOW - began))
    ok "$text after $((took / 100)).$((took / 10 % 10)) s"
}

in_a() { ip netns exec a "$@"; }
in_b() { ip netns exec b "$@"; }

# hosts NAME…: namespaces that forward packets.
hosts() {
    for host in "$@"; do
        ip netns add $host
        ip -n $host link set lo up
        ip netns exec $host sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    done
}

# cable NAME HOST ADDRESS HOST ADDRESS: between two hosts; both ends have its name.
cable() {
    ip link add $1 netns $2 type veth peer name $1 netns $4
    printf 'addr add %s/24 dev %s\nlink set %s up\n' $3 $1 $1 | ip -n $2 -batch -
    printf 'addr add %s/24 dev %s\nlink set %s up\n' $5 $1 $1 | ip -n $4 -batch -
}

# switch NAME HOST ADDRESS…: a bridge in the namespace lan, and a cable from each host to it, called NAME there.
switch() {
    name=$1; shift
    [ -e /run/netns/lan ] || ip netns add lan
    ip -n lan link add $name type bridge mcast_snooping 0
    ip -n lan link set $name up
    while [ $# -gt 0 ]; do
        ip link add $name netns $1 type veth peer name $name-$1 netns lan
        ip -n lan link set $name-$1 master $name up
        printf 'addr add %s/24 dev %s\nlink set %s up\n' $2 $name $name | ip -n $1 -batch -
        shift 2
    done
}

# network_behind HOST ADDRESS: what others want a route to, on em1.
network_behind() {
    ip -n $1 link add em1 type dummy
    printf 'addr add %s/24 dev em1\nlink set em1 up\n' $2 | ip -n $1 -batch -
}

# The network, with everything that crosses the internet written to internet.pcap.
network() {
    # In a the kernel's fallback device gre0 is there, as on any host with ip_gre; Coati gets it out of its way.
    ip netns add a
    echo 2 > /proc/sys/net/core/fb_tunnels_only_for_init_net
    ip netns add internet
    ip netns add b
    ip link add em0 netns a type veth peer name to-a netns internet
    ip link add em0 netns b type veth peer name to-b netns internet
    ip -n a link add em1 type dummy
    ip -n b link add em1 type dummy
    ip -n a -batch - <<-END
	addr add $A1/24 dev em0
	addr add $LAN_A/24 dev em1
	link set lo up
	link set em0 up
	link set em1 up
	route add default via 192.0.2.254
	END
    ip -n b -batch - <<-END
	addr add $B1/24 dev em0
	addr add $LAN_B/24 dev em1
	link set lo up
	link set em0 up
	link set em1 up
	route add default via 198.51.100.254
	END
    ip -n internet -batch - <<-END
	addr add 192.0.2.254/24 dev to-a
	addr add 198.51.100.254/24 dev to-b
	link set lo up
	link set to-a up
	link set to-b up
	END
    ip netns exec internet sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    in_b sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    ip netns exec internet tcpdump --interface to-a --relinquish-privileges=root -U -w $WORK/internet.pcap 2> /run/tcpdump &
    TCPDUMP=$!
    while ! grep -q listening /run/tcpdump; do sleep 0.05; done
}

# coati_files FOLDER: the site that Coati will run, to be changed by the scenario before coati_up.
coati_files() {
    cp -r "$1" /run/site
    chmod 755 /run/site
    chmod 600 /run/site/*
}

# With what is in COATI_FLAGS besides.
coati_up() {
    ip netns exec a "$COATI" up /run/site --socket /run/coati.sock --log $WORK/coati.log $COATI_FLAGS 2>> $WORK/coati.stderr &
    COATI_PID=$!
    within 10 "Coati answers" coati status
}

# Its commands, and what it says as JSON.
coati() { command=$1; shift; in_a "$COATI" "$command" --socket /run/coati.sock "$@"; }

# accounts: a user of the guest in the group vpn; the hash is of "a pass word".
accounts() {
    for file in passwd group; do cp /etc/$file /run/$file; done
    echo 'ann:x:4711:4711::/nonexistent:/usr/sbin/nologin' >> /run/passwd
    echo 'vpn:x:4712:ann' >> /run/group
    echo 'ann:$y$j9T$9PBjcQyiOYxHvmP14ONDB.$SZ9/PA/xbPu1/6uMjuJdzb.C8c38/b5oOGXEkybU1n2:19000:0:99999:7:::' > /run/shadow
    for file in passwd group shadow; do mount --bind /run/$file /etc/$file; done
}

# reload: it reads what the scenario has changed in its files.
reload() { must "Coati reads its files again" in_a "$COATI" racoonctl -s /run/coati.sock reload-config; }

# log_has COUNT PATTERN: so many lines in its log, at least.
log_has() { test "$(grep -c "$2" $WORK/coati.log)" -ge "$1"; }

# gre_in_b [REMOTE]: the kernel's GRE tunnel in b, made before strongswan_up: looking for its way, the kernel asks IKE for
# keys when there is a policy. It says nothing of its own, such as a report of IPv6 multicast groups, before a scenario does.
gre_in_b() {
    ip -n b link add gre0 type gre local $B1 remote ${1:-$A1} ttl 64
    in_b sh -c 'echo 1 > /proc/sys/net/ipv6/conf/gre0/disable_ipv6'
    ip -n b link set gre0 mtu 1400 multicast on up
    ip -n b addr add $B2/30 dev gre0
}

# strongswan_up FILE: charon in b with this swanctl.conf.
strongswan_up() {
    STRONGSWAN_CONF=$PEERS/strongswan.conf
    export STRONGSWAN_CONF
    ip netns exec b /usr/sbin/charon-systemd > $WORK/charon.stdout 2>&1 &
    CHARON_PID=$!
    within 10 "strongSwan answers" swanctl --stats
    must "strongSwan takes its configuration" swanctl --load-all --noprompt --file "$1"
}

# authority NAME: a CA with its key.
authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/O=Example/CN=CA" -keyout /run/pki/$1.key -out /run/pki/$1.crt \
        2>> $WORK/openssl.log
}

# certificate NAME AUTHORITY: a key, and a certificate that the CA has issued for it.
certificate() {
    openssl req -new -newkey rsa:2048 -nodes -subj "/O=Example/CN=$1" -keyout /run/pki/$1.key -out /run/pki/$1.csr \
        2>> $WORK/openssl.log
    openssl x509 -req -in /run/pki/$1.csr -CA /run/pki/$2.crt -CAkey /run/pki/$2.key -CAcreateserial -days 30 \
        -out /run/pki/$1.crt 2>> $WORK/openssl.log
}

# certificates: one CA, and a certificate of it for each side; strongSwan finds its own.
certificates() {
    mkdir -p /run/pki /run/swanctl/x509 /run/swanctl/x509ca /run/swanctl/private
    authority ca
    certificate a ca
    certificate b ca
    cp /run/pki/ca.crt /run/swanctl/x509ca/
    cp /run/pki/b.crt /run/swanctl/x509/
    cp /run/pki/b.key /run/swanctl/private/
    SWANCTL_DIR=/run/swanctl
    export SWANCTL_DIR
}

# certificates_of_coati: those of its side, where racoon.conf looks with `path certificate "/run/site/certs"`.
certificates_of_coati() {
    mkdir -p /run/site/certs
    cp /run/pki/a.crt /run/pki/a.key /run/pki/ca.crt /run/site/certs/
    chmod 600 /run/site/certs/a.key
}

swanctl() { in_b swanctl "$@" --uri unix:///run/charon.vici; }

# children_at_most COUNT: strongSwan holds no more. During a renewal there is one more, for a moment.
children_at_most() {
    swanctl --list-sas > $WORK/sas
    test "$(grep -c 'gre: #' $WORK/sas)" -le "$1"
}

# libreswan_up FILE: pluto in b with this ipsec.conf. While it negotiates on demand it may let packets of its side out in
# clear ("failed to install negotiation_shunt" in its log): only Coati's count.
libreswan_up() {
    CLEAR_FROM="and src $A1"
    mkdir -p /run/libreswan/nss /run/pluto
    # It insists on its helpers being there.
    mount -t tmpfs tmpfs /usr/libexec
    ln -s "$LIBRESWAN/usr/libexec/ipsec" /usr/libexec/ipsec
    cp "$1" /run/libreswan/ipsec.conf
    cp "$PEERS/libreswan.secrets" /run/libreswan/ipsec.secrets
    chmod 600 /run/libreswan/ipsec.secrets
    certutil -N -d sql:/run/libreswan/nss --empty-password
    ip netns exec b /usr/libexec/ipsec/pluto --nofork --config /run/libreswan/ipsec.conf --ipsecdir /run/libreswan \
        --nssdir /run/libreswan/nss --secretsfile /run/libreswan/ipsec.secrets --rundir /run/pluto \
        --logfile $WORK/pluto.log > $WORK/pluto.stdout 2>&1 &
    PLUTO_PID=$!
    within 20 "libreswan has its configuration" sh -c "ip netns exec b /usr/libexec/ipsec/whack --status | grep -q site-a"
}

whack() { in_b /usr/libexec/ipsec/whack "$@"; }

# frr_up FILE: zebra and ospfd in b, or those of FRR_DAEMONS.
frr_up() {
    mkdir -p /run/frr
    # Its daemons insist on running as a member of this group.
    sed 's/^frrvty:.*/&,root/' /etc/group > /run/group
    mount --bind /run/group /etc/group
    cp "$1" /run/frr/frr.conf
    : > /run/frr/vtysh.conf
    for daemon in ${FRR_DAEMONS:-zebra ospfd}; do frr_daemon $daemon; done
}

# frr_daemon NAME: one of them, with the file that frr_up was given.
frr_daemon() {
    in_b /usr/lib/frr/$1 --daemon --user root --group root --config_file /run/frr/frr.conf \
        --pid_file /run/frr/$1.pid --socket /run/frr/zserv.api --vty_socket /run/frr \
        --log file:$WORK/$1.log --log-level info
}

vtysh() { in_b vtysh --vty_socket /run/frr --config_dir /run/frr -c "$*"; }

# The same databases in the same keys: what `show ip ospf database TYPE json` says, its ages and flags and the names of
# the routers asked aside.
pairs() { tr -d ' \n' | sed 's#\\/#/#g' | tr ',{}[]' '\n\n\n\n\n' | grep ':.' | grep -Ev '"(lsaAge|lsaFlags|routerId)"' | sort; }
# same_json WORDS, which are those behind `database`.
same_json() {
    coati show ip ospf database "$@" json | pairs > /run/json-coati
    vtysh show ip ospf database "$@" json | pairs > /run/json-frr
    diff /run/json-frr /run/json-coati && [ -s /run/json-frr ]
}

# bird_up NAMESPACE FILE [-R]: BIRD there.
bird_up() { ip netns exec "$1" bird $3 -c "$2" -s /run/bird.ctl -P /run/bird.pid -D $WORK/bird.log; }

birdc() { busybox timeout 5 birdc -s /run/bird.ctl "$@"; }

# Whether the kernel of a namespace has a route that OSPF brought.
has_ospf_route() { # namespace destination
    ip -n "$1" route show "$2" | grep -Eq 'proto (ospf|bird)'
}
frr_is_full() { vtysh show ip ospf neighbor | grep "$1" | grep -q Full/; }
bird_is_full() { birdc show ospf neighbors | grep "$1" | grep -q Full/; }

# all_answered FILE COUNT [LATE]: whether ping had replies to its first COUNT requests, but for the first LATE of them. It
# sends some more, since it goes without waiting for the last ones' replies as long as a busy machine may need.
all_answered() {
    awk -v count="$2" -v late="${3:-0}" '
        match($0, /icmp_seq=[0-9]+/) && /time=/ { seen[substr($0, RSTART + 9, RLENGTH - 9) + 0] = 1 }
        END {
            for (i = 1 + late; i <= count; i++) if (!(i in seen)) { missing++; list = list " " i }
            if (missing) { print missing " of " count " without a reply:" list; exit 1 }
        }' "$1"
}
MORE=5

# What ping found, in one line.
in_short() { awk -F/ '/packets/ { print } /rtt/ { print "average " $5 " ms" }' ORS=', ' "$1"; }

# How many packets of ESP came to b's kernel before it had the SA.
without_sa() { in_b sed -n 's/^XfrmInNoStates[^0-9]*//p' /proc/net/xfrm_stat | grep . || echo 0; }

# pings NAMESPACE SOURCE DESTINATION COUNT: all of them answered, but for the first ones where they came to b before IKE there
# had its SAs: a busy peer has them a moment after the last message of quick mode.
pings() {
    early=$(without_sa)
    ip netns exec "$1" ping -n -I "$2" -i 0.05 -c $(($4 + MORE)) -W 5 "$3" > /run/ping
    must "$4 x ping $2 -> $3: $(in_short /run/ping)" all_answered /run/ping "$4" $(($(without_sa) - early))
}

# stream_of_pings SECONDS: twenty a second each way, none is lost.
stream_of_pings() {
    count=$(($1 * 20))
    for way in "a $A2 $B2" "b $B2 $A2"; do
        set -- $1 $way
        ip netns exec $2 ping -n -I $3 -i 0.05 -c $((count + MORE)) -W 5 $4 > /run/stream-$2 &
        eval stream_$2=$!
    done
    wait $stream_a $stream_b
    for way in a b; do
        must "for $1 s from $way: $(in_short /run/stream-$way)" all_answered /run/stream-$way $count
    done
}

# What has to be true of every scenario, and the end of the guest. One without ESP says LEAST_ESP=0.
# CLEAR_FROM may narrow down whose packets in clear count.
finish() {
    # What a machine that keeps no logs has to show.
    if [ -n "$HAS_FAILED" ] && [ -n "$COATI_PID" ]; then
        fact "Coati's log ends:"
        tail -n 12 $WORK/coati.log | sed 's/^/        /'
    fi
    [ -z "$COATI_PID" ] || must "Coati still runs" kill -0 $COATI_PID
    # Scenarios on a LAN have no internet.
    if [ -n "$TCPDUMP" ]; then
        kill $TCPDUMP; wait $TCPDUMP
        esp=$(tcpdump -n -r $WORK/internet.pcap 'ip proto 50 or (udp port 4500 and udp[4:2] > 12 and udp[8:4] != 0)' | wc -l)
        clear=$(tcpdump -n -r $WORK/internet.pcap ip proto 47 $CLEAR_FROM | wc -l)
        must "on the internet: $esp ESP packets, $clear of GRE in clear" test "$clear" = 0 -a "$esp" -ge ${LEAST_ESP:-1}
    fi
    echo "interop: end"
    echo o > /proc/sysrq-trigger
    sleep 10
}
