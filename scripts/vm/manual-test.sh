#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the program that epoll_state(7) shows: several clients fetch a file from
# it at the same time.  In the guest it is one of the tests; scripts/check-man
# runs it on this machine, whose kernel may be any.
#   EPOLLSTATE_REQUIRED=1  it must have worked with records
program=${1:-/tools/send_file}
clients=4
dir=$(mktemp -d)
trap 'kill $server 2>/dev/null; rm -rf "$dir"' EXIT
failed=0
server=
deadline=$(($(date +%s) + 60))

point() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n $2"; else echo "not ok $n $2"; failed=1; fi
}

# Nothing here takes that long: what is late has failed.
late() { [ "$(date +%s)" -gt $deadline ]; }
fetch() { timeout 60 busybox nc 127.0.0.1 "$port" </dev/null >"$dir/got.$1" 2>/dev/null; }

echo TAP version 13
echo 1..2
seq 1 400000 >"$dir/file"

# The first port that it gets, and until it answers.
port=17400
while :; do
	"$program" $port "$dir/file" >"$dir/told" 2>"$dir/error" &
	server=$!
	while kill -0 $server 2>/dev/null && ! fetch first && ! late; do :; done
	if cmp -s "$dir/file" "$dir/got.first"; then break; fi
	kill $server 2>/dev/null
	port=$((port + 1))
	if [ $port = 17420 ] || late; then
		echo "# $(cat "$dir/error")"
		break
	fi
done

i=0
pids=
while [ $i -lt $clients ]; do
	fetch $i &
	pids="$pids $!"
	i=$((i + 1))
done
# shellcheck disable=SC2086
wait $pids
bad=0
i=0
while [ $i -lt $clients ]; do
	cmp "$dir/file" "$dir/got.$i" || bad=1
	i=$((i + 1))
done
point $bad "every client got the whole file"

# One line for each client, as soon as its last byte was acknowledged.
while kill -0 $server 2>/dev/null && [ -n "${EPOLLSTATE_REQUIRED:-}" ] &&
	[ "$(grep -c acknowledged "$dir/told")" -le $clients ] && ! late; do :; done
kill -0 $server 2>/dev/null && ! late
point $? "the program goes on, with records if they are required"
sed 's/^/# /' "$dir/told" "$dir/error"
exit $failed
