#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A test job in the guest: clients reach the echo server through the relay.  The
# clients check every byte; some drain slowly, so that backpressure comes and
# goes, some reset the connection or close their half.  Ends with 0 only if all
# came back and, with records, the relay wasted no system call.
#
#   EXPECT=records|edge  fail if the kernel gives the other (either)
set -eu

tools=${TOOLS:-/tools}
run=$(mktemp -d)
/sbin/ip link set lo up

"$tools/echo-server" --port 7777 --stats "$run/echo" >/dev/null &
server=$!
"$tools/relay" --port 7778 127.0.0.1 7777 >"$run/relay" &
relay=$!
# A target that refuses: its clients are reset.
"$tools/relay" --port 7779 127.0.0.1 9 >"$run/refused" &
refused=$!
"$tools/relay" --port 7780 127.0.0.1 7777 >"$run/early" &
early=$!
sleep 0.5

failed=0
"$tools/echo-load" -n 6 -s 3 -B 3000000 -R 1000000 -b 200000 -f 50 -S 1 127.0.0.1 7778 || failed=1
"$tools/echo-load" -n 200 -s 0 -b 5000 -f 50 -r 10 -S 2 127.0.0.1 7778 || failed=1
! "$tools/echo-load" -n 3 -s 0 -b 100 -t 20 -S 3 127.0.0.1 7779 >"$run/load" 2>&1 || failed=1
[ $failed = 0 ] || echo "FAILED: a client found a fault"
# One that ends its half before the relay has reached the server.
/sbin/tc qdisc add dev lo root netem delay 100ms
nc 127.0.0.1 7780 </dev/null || failed=1

for p in $relay $refused $early $server; do
	kill "$p"
	wait "$p" || { echo "FAILED: $p ended with $?"; failed=1; }
done
sed 's/^/  /' "$run/relay"
awk -v expect="${EXPECT:-}" '
	function bad(text) { print "FAILED: " text; status = 1 }
	FILENAME ~ /refused$/ { refused[$1] = $2; next }
	FILENAME ~ /early$/ { early[$1] = $2; next }
	{ v[$1] = $2 }
	END {
		kind = v["records"] ? "records" : "edge"
		if (expect != "" && expect != kind)
			bad("expected " expect ", there were " kind)
		if (v["links"] < 206 || v["bytes"] < 9000000)
			bad("connections or bytes are missing")
		if (refused["links"] != 3 || refused["links_failed"] != 3)
			bad("a refused connection did not reset its client")
		if (early["links"] != 1 || early["links_failed"] != 0)
			bad("an early end of the client was no end but a reset")
		wasted = v["eagain"] + v["short"] + v["bytes_kept"]
		if (kind == "records" && wasted + v["ordinary_events"])
			bad("system calls were wasted, or bytes kept")
		if (v["epoll_ctl_later"])
			bad("epoll_ctl after registration")
		exit status
	}' "$run/refused" "$run/early" "$run/relay" || failed=1
exit $failed
