# Ciphers, hashes and groups of racoon.conf in phase 1 and phase 2, one after the other by reloading both sides.

network
gre_in_b
strongswan_up "$PEERS/swanctl.conf"
coati_files "$SITES/seed/freebsd-a"
cp /run/site/racoon.conf /run/racoon.conf
# Nobody speaks by himself: a hello of OSPF or a router solicitation would ask for keys between two of the orders below.
rm /run/site/ospfd.conf
in_a sh -c 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6'
coati_up
no_sa() { ! in_a "$COATI" setkey -s /run/coati.sock -D | grep -q esp; }
# IKE: cipher, hash, group; ESP: cipher, authentication; each as racoon.conf and as strongSwan call it.
while read -r cipher hash group enc auth ike esp; do
    sed "s/^encryption_algorithm aes;/encryption_algorithm ${cipher%,*} ${cipher#*,};/; s/^hash_algorithm .*/hash_algorithm $hash;/
        s/^dh_group .*/dh_group $group;/; s/^pfs_group .*/pfs_group $group;/
        s/^encryption_algorithm aes, 3des;/encryption_algorithm ${enc%,*} ${enc#*,};/
        s/^authentication_algorithm .*/authentication_algorithm $auth;/" /run/racoon.conf > /run/site/racoon.conf
    sed "s/esp_proposals = .*/esp_proposals = $esp/; s/ proposals = .*/ proposals = $ike/; s/\tproposals = .*/\tproposals = $ike/" \
        "$PEERS/swanctl.conf" > /run/swanctl.conf
    swanctl --terminate --ike site-a --force > /run/terminated 2>&1
    # Its farewell may come after the order to read files again, and meet what that begins.
    within 10 "the last pair is gone" no_sa
    swanctl --load-all --noprompt --file /run/swanctl.conf > /run/loaded 2>&1
    in_a "$COATI" racoonctl -s /run/coati.sock reload-config > /run/reloaded 2>&1 || cat /run/reloaded
    within 10 "$ike and $esp" in_a ping -n -c 1 -W 1 $B2
done <<-END
	aes,128 sha1 2 aes,128 hmac_sha1 aes128-sha1-modp1024 aes128-sha1-modp1024
	aes,192 sha256 5 aes,192 hmac_sha256 aes192-sha256-modp1536 aes192-sha256-modp1536
	aes,256 sha384 14 aes,256 hmac_sha384 aes256-sha384-modp2048 aes256-sha384-modp2048
	aes,256 sha512 15 aes,256 hmac_sha512 aes256-sha512-modp3072 aes256-sha512-modp3072
	3des, md5 16 3des, hmac_sha1 3des-md5-modp4096 3des-sha1-modp4096
	aes,128 sha256 14 aes_gcm,128 hmac_sha256 aes128-sha256-modp2048 aes128gcm16-modp2048
	aes,128 sha256 14 aes_gcm,256 hmac_sha256 aes128-sha256-modp2048 aes256gcm16-modp2048
	aes,128 sha256 14 null_enc, hmac_sha256 aes128-sha256-modp2048 null-sha256-modp2048
	END
