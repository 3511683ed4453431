#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A job in the guest: every peer under every workload, one line of figures each.
#
#   BENCH=WORD...  only workloads that begin so: answers, answers-64, ...
#   PEERS=WORD...  only these peers
#   MARKS=WORD     of this workload, also when each peer woke
set -eu

tools=${TOOLS:-/tools}
peers=${PEERS:-lt et et-short lt-fionread libevent poll uring state}

# The clock settles, and fine timers come, a second after the boot.
sleep 2
/sbin/ip link set lo up
echo 1000000 >/proc/sys/fs/nr_open

# Two machines and the link between them: 10 ms each way, 100 Mbit/s.
/sbin/ip netns add server
/sbin/ip netns add client
/sbin/ip link add eth0 netns server type veth peer name eth0 netns client
for side in server client; do
	/sbin/ip -n $side link set lo up
	/sbin/ip -n $side link set eth0 up
	/sbin/tc -n $side qdisc add dev eth0 root netem delay 10ms rate 100mbit limit 20000
done
/sbin/ip -n server address add 10.7.0.1/24 dev eth0
/sbin/ip -n client address add 10.7.0.2/24 dev eth0

dashed() { echo "$1" | tr ' ' -; }

wanted() {
	[ -n "${BENCH:-}" ] || return 0
	for word in $BENCH; do
		case $(dashed "$1") in "$word"*) return 0 ;; esac
	done
	return 1
}

loads() {
	cat <<-END
	answers 64 1 4000
	answers 1024 1 4000
	answers 16384 1 2000
	answers 64 64 4000
	answers 1024 64 4000
	answers 16384 64 2000
	answers 64 1000 4000
	answers 1024 1000 4000
	answers 16384 1000 2000
	bulk 1 32768
	bulk 64 65536
	relay 1 16384
	relay 8 4096
	accepts 4096 64
	ends 4096 64
	datagrams 8000 16
	registered 10 10 4000
	registered 1000 10 4000
	registered 10000 10 4000
	registered 100000 10 400
	registered 1000 1000 4000
	registered 10000 10000 20000
	beside 64 2 500
	END
}

todo=$(loads | while read -r load; do if wanted "$load"; then echo "$load"; fi; done)
[ -n "$todo" ] || { echo "fail no workload is called '$BENCH'"; exit 1; }
echo "kernel $(uname -r)"
echo "clock $(sed -n 's/^cpu MHz[^0-9]*//p' /proc/cpuinfo | head -n 1)"
echo "plan $(($(echo "$todo" | wc -l) * $(echo "$peers" | wc -w)))"
status=0
while read -r load; do
	marks=''
	[ "${MARKS:-}" != "$(dashed "$load")" ] || marks=PEERS_MARKS=1
	for peer in $peers; do
		# shellcheck disable=SC2086
		/sbin/ip netns exec server env $marks "$tools/peers-bench" "$peer" $load || status=1
	done
done <<END
$todo
END
exit $status
