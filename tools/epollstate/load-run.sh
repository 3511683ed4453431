#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A load job in the guest: for minutes, many connections at once to the echo
# server, each that ends followed by another; some reset, some stand still, some
# close their half, some drain slowly.  Memory is looked at all the while.  Ends
# with 0 only if every byte came back right, the server wasted no system call,
# memory stayed flat and all of it came back.
#
#   CONNS=N      connections at once (10000)
#   DURATION=S   seconds (600)
set -eu

tools=${TOOLS:-/tools}
out=${OUT:-/out}
conns=${CONNS:-10000} duration=${DURATION:-600}
mkdir -p "$out"
run=$(mktemp -d)
/sbin/ip link set lo up
# So many connections at once, and those of the last minute: all ports there
# are, and few of them kept waiting after their end.
echo '1024 65535' >/proc/sys/net/ipv4/ip_local_port_range
echo 1000 >/proc/sys/net/ipv4/tcp_max_tw_buckets
echo 4096 >/proc/sys/net/core/somaxconn
# Memory that sockets may have together, and little for each.
echo '4096 16384 65536' >/proc/sys/net/ipv4/tcp_rmem
echo '4096 16384 65536' >/proc/sys/net/ipv4/tcp_wmem

"$tools/echo-server" --stats "$run/stats" >/dev/null &
server=$!
sleep 0.5

# Objects in use: a registration is one of eventpoll_epi.
objects() { awk -v name="$1" '$1 == name { print $2 }' /proc/slabinfo; }
free_kb() { awk '/^MemAvailable:/ { print $2 }' /proc/meminfo; }
sample() { echo "$(cut -d" " -f1 /proc/uptime) $(objects eventpoll_epi) $(free_kb)"; }
before=$(free_kb)
while sleep 5; do sample; done >"$out/memory.txt" &
watch=$!

failed=0
"$tools/echo-load" -n "$conns" -d "$duration" -t 300 -q 120 -s $((conns / 100)) -b 20000 -B 100000 \
	-R 20000 -r 10 -f 40 -z 10 -S 1 127.0.0.1 || failed=1
[ $failed = 0 ] || echo "FAILED: a client found a fault"
kill "$watch"
kill "$server"
wait "$server" || { echo "FAILED: the server ended with $?"; failed=1; }
# What an end leaves to RCU and to timers goes within seconds.  No number at all
# is not 0.
left='' tries=30
while [ $tries -gt 0 ]; do
	# What a processor keeps at hand would count as used.
	echo 1 >/sys/kernel/slab/eventpoll_epi/shrink
	left=$(objects eventpoll_epi)
	[ "$left" != 0 ] || break
	tries=$((tries - 1))
	sleep 1
done
awk -v before="$before" -v after="$(free_kb)" -v left="$left" '
	function bad(text) { print "FAILED: " text; status = 1 }
	FILENAME ~ /memory/ {
		# The beginning and the end are not the middle.
		n++
		free[n] = $3
		next
	}
	{ v[$1] = $2 }
	END {
		for (i = int(n / 4) + 1; i <= n - 1; i++) {
			if (!low || free[i] < low)
				low = free[i]
			if (free[i] > high)
				high = free[i]
		}
		half = int((n / 4 + n) / 2)
		for (i = int(n / 4) + 1; i <= n - 1; i++) {
			if (i <= half) { a += free[i]; na++ } else { b += free[i]; nb++ }
		}
		served = v["connections_served"]
		printf "connections served %s, records %s, bytes %s\n",
			served, v["records"], v["bytes_echoed"]
		printf "memory available: %d kB before, %d to %d during, %d after\n",
			before, low, high, after
		if (na && nb)
			printf "mean of the first half %d kB, of the second half %d kB\n",
				a / na, b / nb
		printf "registrations left: %d\n", left
		wasted = v["reads_eagain"] + v["reads_short"] +
			v["writes_eagain"] + v["writes_short"]
		printf "EAGAIN or short: %d, epoll_ctl after registration: %d\n",
			wasted, v["epoll_ctl_later"]
		if (!v["records"])
			bad("no records")
		if (wasted + v["epoll_ctl_later"] + v["bytes_kept_in_server"])
			bad("system calls were wasted, or bytes kept")
		# Between the two means lie three eighths of all connections.  What one
		# registration keeps, 128 bytes, would be seen if 100 000 lost it.
		if (!(na && nb) || a / na - b / nb > served * 24 / 1024 + 2048)
			bad("memory goes down")
		if (before - after > served / 16 + 65536)
			bad("memory did not come back")
		if (left != "0")
			bad("registrations were not given back")
		exit status
	}' "$out/memory.txt" "$run/stats" || failed=1
exit $failed
