#!/bin/sh
# Makes the CA, certificates and CRLs of this directory anew, by OpenSSL 3. The keys are not kept:
# whatever is needed besides, make it here.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
until=20391231000000Z

config() { # config DIRECTORY: a CA there
    mkdir -p "$1/new"
    : >"$1/index.txt"
    echo 01 >"$1/number"
    cat >"$1/cnf" <<CNF
[ca]
default_ca = it
[it]
database = $1/index.txt
new_certs_dir = $1/new
certificate = $1/ca.pem
private_key = $1/ca.key
default_md = sha256
rand_serial = yes
policy = any
crlnumber = $1/number
[any]
commonName = supplied
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[no_crl]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[leaf]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
subjectAltName = \${ENV::SAN}
[v2]
authorityKeyIdentifier = keyid
[delta]
2.5.29.27 = critical,ASN1:INTEGER:1
[for_cas]
2.5.29.28 = critical,ASN1:SEQUENCE:only_cas
[only_cas]
flag = IMPLICIT:2,BOOLEAN:TRUE
[for_users]
2.5.29.28 = critical,ASN1:SEQUENCE:only_users
[only_users]
flag = IMPLICIT:1,BOOLEAN:TRUE
[indirect]
2.5.29.28 = critical,ASN1:SEQUENCE:is_indirect
[is_indirect]
flag = IMPLICIT:4,BOOLEAN:TRUE
[unknown]
1.2.3.4 = critical,ASN1:NULL
CNF
}

authority() { # authority NAME SECTION KEY-OPTION...: a root in $work/NAME, its certificate here
    name=$1 section=$2
    shift 2
    config "$work/$name"
    openssl genpkey "$@" -out "$work/$name/ca.key"
    SAN=email:x openssl req -new -key "$work/$name/ca.key" -subj "/CN=CRL test CA" \
        -config "$work/$name/cnf" -out "$work/$name/ca.csr"
    SAN=email:x openssl ca -selfsign -batch -notext -config "$work/$name/cnf" -extensions "$section" \
        -startdate 20200101000000Z -enddate $until -keyfile "$work/$name/ca.key" \
        -in "$work/$name/ca.csr" -out "$work/$name/ca.pem"
    cp "$work/$name/ca.pem" "$name.crt.pem"
}

leaf() { # leaf NAME SAN
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$1.key"
    SAN=$2 openssl req -new -key "$work/$1.key" -subj "/CN=$1" -config "$work/ca/cnf" -out "$work/$1.csr"
    SAN=$2 openssl ca -batch -notext -config "$work/ca/cnf" -extensions leaf \
        -startdate 20200101000000Z -enddate $until -in "$work/$1.csr" -out "$1.crt.pem"
}

crl() { # crl CA NAME OPTION...: valid from 2029 to 2031
    name=$1 out=$2
    shift 2
    SAN=email:x openssl ca -gencrl -batch -config "$work/$name/cnf" \
        -crl_lastupdate 20290101000000Z -crl_nextupdate 20310101000000Z "$@" -out "$out.crl.pem"
}

upn='otherName:1.3.6.1.4.1.311.20.2.3;UTF8:ann@corp.example'
authority ca root -algorithm EC -pkeyopt ec_paramgen_curve:P-256
authority namesake root -algorithm EC -pkeyopt ec_paramgen_curve:P-256
authority rsa root -algorithm RSA -pkeyopt rsa_keygen_bits:2048
authority no-crl-sign no_crl -algorithm EC -pkeyopt ec_paramgen_curve:P-256
leaf good "email:good@example.com,DNS:good.example,IP:192.0.2.7,IP:2001:db8::7,URI:spiffe://example/good,$upn"
leaf revoked "email:revoked@example.com"
leaf spare "email:spare@example.com"
crl ca empty -crlexts v2
SAN=email:x openssl ca -batch -config "$work/ca/cnf" -revoke revoked.crt.pem -crl_reason keyCompromise
SAN=email:x openssl ca -batch -config "$work/ca/cnf" -revoke spare.crt.pem
crl ca v2 -crlexts v2
crl ca for-users -crlexts for_users
crl ca for-cas -crlexts for_cas
crl ca delta -crlexts delta
crl ca indirect -crlexts indirect
crl ca unknown -crlexts unknown
crl ca sha1 -crlexts v2 -md sha1
crl namesake namesake -crlexts v2
crl rsa rsa -crlexts v2
crl no-crl-sign no-crl-sign -crlexts v2
# Version 1 has neither a number nor reasons.
sed -i '/^crlnumber/d' "$work/ca/cnf"
sed -i 's/,keyCompromise//' "$work/ca/index.txt"
crl ca v1
