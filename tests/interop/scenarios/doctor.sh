# coati doctor and the automatic choice: which homes there are and why one is taken; what the embedded data plane cannot do goes to the kernel by itself.

state() { # source destination spi reqid encryption-key authentication-key
    ip -n b xfrm state add src $1 dst $2 proto esp spi $3 reqid $4 mode transport replay-window 32 \
        enc 'cbc(aes)' $5 auth-trunc 'hmac(sha1)' $6 96
}
policy() { # direction source destination reqid
    ip -n b xfrm policy add dir $1 src $2/32 dst $3/32 proto gre tmpl src $2 dst $3 proto esp reqid $4 mode transport
}
doctor() { in_a "$COATI" doctor /run/site "$@" > $WORK/doctor; }
says() { grep -Eq "$1" $WORK/doctor; }
network
state $A1 $B1 0x1001 1 0x00112233445566778899aabbccddeeff 0x000102030405060708090a0b0c0d0e0f10111213
state $B1 $A1 0x1002 2 0xffeeddccbbaa99887766554433221100 0x131211100f0e0d0c0b0a09080706050403020100
policy out $B1 $A1 2
policy in $A1 $B1 1
gre_in_b
coati_files "$SITES/manual-keys/site-a"

before=$(ip -n a link | md5sum; ip -n a xfrm policy | md5sum; ip -n a xfrm state | md5sum)
must "doctor finds nothing in the way" doctor
must "both homes are possible" sh -c "grep -Eq '^  ok  embedded' $WORK/doctor && grep -Eq '^  ok  xfrm' $WORK/doctor"
must "the embedded one is used" says '^Used: embedded'
must "the tunnel fits" says 'ok  tunnel .*gre0: MTU 1400, over em0 with 1500'
after=$(ip -n a link | md5sum; ip -n a xfrm policy | md5sum; ip -n a xfrm state | md5sum)
must "nothing was touched" test "$before" = "$after"
must "for programs" doctor --json
must "it says the same" says '"used":"embedded"'

# A policy for forwarded packets is for the kernel.
echo "spdadd 10.9.0.0/24 10.1.0.0/24 any -P fwd discard;" >> /run/site/setkey.conf
must "doctor finds nothing in the way" doctor
must "the embedded one will not do, and why" says '^  no  embedded .*setkey.conf:[0-9]+.*fwd policies are for the Linux kernel'
must "the kernel is used" says '^Used: xfrm'
coati_up
must "so it is, without being told" sh -c "ip netns exec a $COATI status --socket /run/coati.sock | grep -q 'xfrm: the Linux kernel does ESP and GRE (the embedded data plane will not do: .*fwd'"
must "the policy is there" sh -c "ip -n a xfrm policy | grep -A 1 'src 10.9.0.0/24' | grep -q 'dir fwd action block'"
pings a $A2 $B2 20
must "doctor sees that a daemon runs" doctor
must "and says so" says 'ok  daemon .*runs already'
