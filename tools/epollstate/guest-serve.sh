#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The job of "make serve" in the guest: an echo server on the user network of
# QEMU, which the host reaches through the port that it forwards.
set -eu

/sbin/ip link set eth0 up
/sbin/ip address add 10.0.2.15/24 dev eth0
/sbin/ip route add default via 10.0.2.2
exec "${TOOLS:-/tools}/echo-server" --port "${PORT:-7777}" --watch "${WATCH:-100}"
