#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The job of "make run" in the guest: echo server and load client in two network
# namespaces, joined by a slow link, so that the send side really backs up.
# A table of some connections' records as they arrive, then a summary.  Ends
# with 0 only if every byte came back right and no expectation was missed.
#
#   EXPECT=records|edge  fail if the kernel gives the other (either)
#   SCALE=N              percentage of the load (100)
#   ROWS=N               rows of the table in all (60)
set -eu

tools=${TOOLS:-/tools}
out=${OUT:-/out}
scale=${SCALE:-100}
run=$(mktemp -d)
mkdir -p "$out"

# Two machines and the link between them: 10 ms each way, 100 Mbit/s.
# One segment a packet, as on a real wire, so that segments can be counted.
/sbin/ip netns add server 2>/dev/null
/sbin/ip netns add client 2>/dev/null
/sbin/ip link add eth0 netns server type veth peer name eth0 netns client
for side in server client; do
	/sbin/ip -n $side link set lo up
	/sbin/ip -n $side link set eth0 gso_max_segs 1 up
	/sbin/tc -n $side qdisc add dev eth0 root netem delay 10ms rate 100mbit limit 20000
done
/sbin/ip -n server address add 10.7.0.1/24 dev eth0
/sbin/ip -n client address add 10.7.0.2/24 dev eth0
/sbin/ip -n server address add fd07::1/64 dev eth0 nodad
/sbin/ip -n client address add fd07::2/64 dev eth0 nodad
# A slow reader with little room for what it does not read.
/sbin/ip netns exec client sh -c 'echo 4096 32768 65536 >/proc/sys/net/ipv4/tcp_rmem'

# The head of each connection's rows, then about one a second, and those with
# which a half of the connection ends.
mkfifo "$run/table"
awk -v most="${ROWS:-60}" '
	NR <= 2 { print; fflush(); next }
	{ n[$2]++; all++; ends = / RDHUP/ + / HUP/ }
	ends == ended[$2] + 0 &&
		(shown >= most || n[$2] > 8 && $1 < due[$2] + 0) { next }
	{ print; fflush(); shown++; due[$2] = $1 + 1.0; ended[$2] = ends }
	END { printf "%d of %d rows shown\n", shown, all }' <"$run/table" &
table=$!

echo
echo "Echo server and clients behind a link of 10 ms and 100 Mbit/s each way.  Connection"
echo "0 is the listening socket; the peer of connection 1 drains its echo slowly."
echo
/sbin/ip netns exec server "$tools/echo-server" --watch 3 --idle 1 \
	--csv "$out/records.csv" --stats "$out/stats.txt" >"$run/table" &
server=$!
sleep 0.3

load() {
	name=$1
	shift
	/sbin/ip netns exec client "$tools/echo-load" "$@" >"$run/$name" 2>&1 ||
		echo "$name" >>"$run/failed"
}
load ipv4 -n $((scale * 6 / 10 + 1)) -s 1 -B $((10000 * scale)) -R 120000 \
	-b 60000 -r 5 -S 1 10.7.0.1 &
one=$!
sleep 0.2
load ipv6 -n $((scale * 6 / 10 + 1)) -s 6 -B $((3000 * scale)) -R 120000 \
	-b 60000 -r 5 -S 2 fd07::1 &
two=$!
sleep 1
load many -n $((scale * 20)) -s 0 -b 3000 -S 3 10.7.0.1 &
wait $! $one $two
status=0
wait $server || status=$?
wait $table

echo
cat "$run/ipv4" "$run/ipv6" "$run/many"
echo
[ $status = 0 ] || echo "FAILED: the echo server ended with $status"
[ ! -e "$run/failed" ] || echo "FAILED: a client found a fault"

verified=$(cat "$run/ipv4" "$run/ipv6" "$run/many" |
	sed -n 's/.* sent, \([0-9]*\) came back.*/\1/p' |
	awk '{ s += $1 } END { print s + 0 }')
awk -v verified="$verified" -v expect="${EXPECT:-}" '
	function row(what, value, mark) {
		printf "  %-34s %14s  %s\n", what, value, mark
	}
	function zero(what, value) {
		if (!records)
			row(what, value, "")
		else if (value == 0)
			row(what, value, "as it must be")
		else {
			row(what, value, "FAILED: must be 0")
			bad = 1
		}
	}
	{ v[$1] = $2 }
	END {
		records = v["records"]
		if (records)
			print "Summary: EPOLLSTATE records"
		else
			print "Summary: no EPOLLSTATE in this kernel, " \
				"the server fell back to edge-triggered events"
		row("connections served", v["connections_served"])
		row("  of them reset by the client", v["connections_reset"])
		row("bytes echoed", v["bytes_echoed"])
		row("bytes verified by the clients", verified)
		row("records delivered", records)
		row("ordinary events", v["ordinary_events"])
		row("epoll_wait returns", v["epoll_wait_returns"])
		row("TCP segments received", v["tcp_segments_in"])
		if (records)
			row("wake-ups coalesced per record", sprintf("%.2f",
				v["tcp_segments_in"] / records),
			    "segments received / records")
		row("processor time of the server",
		    sprintf("%.2f s", v["cpu_milliseconds"] / 1000))
		row("reads", v["reads"])
		row("writes", v["writes"])
		zero("reads that returned EAGAIN", v["reads_eagain"])
		zero("reads that were short", v["reads_short"])
		zero("writes that returned EAGAIN", v["writes_eagain"])
		zero("writes that were short", v["writes_short"])
		zero("accepts that returned EAGAIN", v["accepts_eagain"])
		zero("most bytes kept in the server", v["bytes_kept_in_server"])
		zero("epoll_ctl after registration", v["epoll_ctl_later"])
		if (records && v["ordinary_events"]) {
			print "FAILED: records and ordinary events are mixed"
			bad = 1
		}
		if (verified + 0 == 0 || v["bytes_echoed"] < verified) {
			print "FAILED: bytes are missing"
			bad = 1
		}
		if (expect == "records" && !records ||
		    expect == "edge" && records) {
			print "FAILED: expected " expect
			bad = 1
		}
		exit bad
	}' "$out/stats.txt" || status=1
[ ! -e "$run/failed" ] || status=1
exit $status
