# Logins with certificates in the place of the group's pre-shared key: both sides have one (XAUTHInitRSA), or the server alone (hybrid mode), with strongSwan in both roles.

# strongswan_files FILE METHOD: its configuration for racoon's xauth_rsa or hybrid_rsa, made from that for XAUTH with keys.
strongswan_files() {
    sed -e '/ike-a {/,/}/d' -e 's/id = 198.51.100.1$/id = "O=Example, CN=b"\n\t\t\tcerts = b.crt/' \
        -e 's/id = 192.0.2.1$/id = "O=Example, CN=a"\n\t\t\tcacerts = ca.crt/' -e 's/auth = psk/auth = pubkey/' "$1" > /run/xauth.conf
    case $1-$2 in
        # The client shows no certificate, and is whoever it says.
        *server.conf-hybrid_rsa)
            awk '/\tremote {/ { skip = 1 } !skip { print } /}/ { skip = 0 }' /run/xauth.conf > /run/swanctl/swanctl.conf ;;
        *client.conf-hybrid_rsa)
            awk '/\tlocal {/ { skip = 1 } !skip { print } /}/ { skip = 0 }' /run/xauth.conf > /run/swanctl/swanctl.conf ;;
        *) cp /run/xauth.conf /run/swanctl/swanctl.conf ;;
    esac
}

# coati_conf METHOD ROLE: racoon.conf for xauth_rsa_client and the like.
coati_conf() {
    cp "$SITES/seed/freebsd-a/racoon.conf" /run/site/racoon.conf
    sed -i -e '1ipath certificate "/run/site/certs";' -e "s/pre_shared_key;/$1_$2;/" -e 's/^passive off;/passive on;/' \
        -e 's/^exchange_mode main;/&\
my_identifier asn1dn "O=Example, CN=a";\
peers_identifier asn1dn "O=Example, CN=b";\
ca_type x509 "ca.crt";/' /run/site/racoon.conf
    # In hybrid mode the client has none.
    [ $1_$2 = hybrid_rsa_client ] ||
        sed -i 's/^ca_type .*/&\
certificate_type x509 "a.crt" "a.key";/' /run/site/racoon.conf
    if [ $2 = client ]; then
        sed -i 's/^ca_type .*/&\
verify_identifier on;\
xauth_login "ann";\
mode_cfg on;/' /run/site/racoon.conf
    else
        [ $1 = xauth_rsa ] || sed -i '/^peers_identifier/d' /run/site/racoon.conf
        echo 'mode_cfg { network4 10.99.0.10; netmask4 255.255.255.0; pool_size 2; auth_source system; auth_groups "vpn"; }' \
            >> /run/site/racoon.conf
    fi
}

racoonctl() { in_a "$COATI" racoonctl -s /run/coati.sock "$@"; }
no_sa_in_b() { test -z "$(swanctl --list-sas)"; }

network
accounts
certificates
coati_files "$SITES/seed/freebsd-a"
certificates_of_coati
echo 'ann a pass word' > /run/site/psk.txt
coati_conf xauth_rsa client
strongswan_files "$PEERS/swanctl-xauth-server.conf" xauth_rsa
strongswan_up /run/swanctl/swanctl.conf
coati_up
for method in xauth_rsa hybrid_rsa; do
    if [ $method = hybrid_rsa ]; then
        coati_conf $method client
        strongswan_files "$PEERS/swanctl-xauth-server.conf" $method
        must "strongSwan takes hybrid mode" swanctl --load-all --noprompt --file /run/swanctl/swanctl.conf
        reload
    fi
    racoonctl vpn-connect $B1 > /run/connect 2>&1
    must "${method}_client: $(cat /run/connect)" grep -qx 'Bound to address 10.99.0.10' /run/connect
    swanctl --list-sas > $WORK/sas
    must "strongSwan knows the user and the address" grep -q "XAuth: 'ann' .10.99.0.10." $WORK/sas
    racoonctl get-cert inet $A1 $B1 > /run/got.der
    openssl x509 -in /run/pki/b.crt -outform der > /run/b.der
    must "get-cert: strongSwan's certificate" cmp /run/b.der /run/got.der
    must "vpn-disconnect" racoonctl vpn-disconnect $B1
    within 5 "strongSwan has no SA any more" no_sa_in_b
done

for method in xauth_rsa hybrid_rsa; do
    coati_conf $method server
    reload
    strongswan_files "$PEERS/swanctl-xauth-client.conf" $method
    must "strongSwan takes its configuration as a client" swanctl --load-all --noprompt --file /run/swanctl/swanctl.conf
    must "${method}_server: strongSwan logs in" swanctl --initiate --ike inside --timeout 20
    swanctl --list-sas > $WORK/sas
    must "strongSwan has an address of the pool" grep -Eq "local .*198.51.100.1.*\[10.99.0.10\]" $WORK/sas
    must "logout-user" racoonctl logout-user ann
    within 5 "strongSwan has no SA any more" no_sa_in_b
done
must "no password is in the log" sh -c "! grep 'a pass word' $WORK/coati.log"
LEAST_ESP=0
