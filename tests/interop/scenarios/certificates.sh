# RSA certificates of one CA in the place of the pre-shared key, with strongSwan: either side begins, and a certificate of another CA is refused.

network
certificates
sed -e 's/auth = psk/auth = pubkey/' -e 's/id = 198.51.100.1$/id = "O=Example, CN=b"\n\t\t\tcerts = b.crt/' \
    -e '/^secrets/,$d' -e 's/id = 192.0.2.1$/id = "O=Example, CN=a"\n\t\t\tcacerts = ca.crt/' \
    "$PEERS/swanctl.conf" > /run/swanctl/swanctl.conf
gre_in_b
strongswan_up /run/swanctl/swanctl.conf
coati_files "$SITES/seed/freebsd-a"
rm /run/site/psk.txt
certificates_of_coati
sed -i -e '1ipath certificate "/run/site/certs";' -e 's/pre_shared_key;/rsasig;/' -e 's/^exchange_mode main;/&\
my_identifier asn1dn;\
peers_identifier asn1dn "O=Example, CN=b";\
verify_identifier on;\
certificate_type x509 "a.crt" "a.key";\
ca_type x509 "ca.crt";/' /run/site/racoon.conf
coati_up
within 20 "Coati begins: pings are answered" in_a ping -n -c 1 -W 1 $B2
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as responder" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i [0-9a-f]+_r\*' $WORK/sas
must "strongSwan knows Coati by its subject" grep -q "remote 'O=Example, CN=a'" $WORK/sas
openssl x509 -in /run/pki/b.crt -outform der > /run/b.der
in_a "$COATI" racoonctl -s /run/coati.sock get-cert inet $A1 $B1 > /run/got.der
must "get-cert: strongSwan's certificate" cmp /run/b.der /run/got.der
pings a $A2 $B2 20
pings b $B2 $A2 20

swanctl --terminate --ike site-a > /run/terminated 2>&1
within 20 "strongSwan begins: pings are answered" in_b ping -n -c 1 -W 1 $A2
swanctl --list-sas > $WORK/sas
must "strongSwan: IKEv1 established, as initiator" grep -Eq 'ESTABLISHED, IKEv1, [0-9a-f]+_i\* [0-9a-f]+_r' $WORK/sas
pings a $A2 $B2 20

authority other
cp /run/pki/other.crt /run/site/certs/ca.crt
kill -HUP $COATI_PID
within 10 "Coati refuses a certificate of another CA of the same name" grep -q "but not its signature" $WORK/coati.log
