# Installs the Debian packages given as arguments without starting or enabling their services:
# the tests start their own nginx, and a development machine should not begin to serve.
set -eu

# Maintainer scripts ask this program before they start a service; 101 is "no". A machine that
# has one already has its own rule, which stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends "$@"

for package in "$@"; do
    case "$package" in
    nginx) update-rc.d nginx disable ;;
    esac
done
