#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The job of "make test" in the guest: runs the kselftests one after the other
# and frames what each prints, for scripts/vm/tap to judge.
#   TESTS=PATTERN  only programs whose name (dir/program) contains it
#   LIMIT=S        seconds until a program counts as hung (600)
cd /tests || exit 1
list=$(find . -type f -perm -100 | sed 's,^\./,,' | sort | while read -r t; do
	# shellcheck disable=SC2254
	case $t in *${TESTS:-}*) echo "$t" ;; esac
done)
# shellcheck disable=SC2086
set -- $list
echo "## plan $#"

# A debug kernel looks for memory that nobody refers to any more: what is left
# of the boot is none of ours, and then each test program answers for its own.
# kmemleak believes in an object's loss after five seconds and two looks.
kmemleak=/sys/kernel/debug/kmemleak
[ -w "$kmemleak" ] || kmemleak=''
if [ -n "$kmemleak" ]; then
	sleep 6
	echo scan >"$kmemleak"
	echo scan >"$kmemleak"
	echo clear >"$kmemleak"
fi
leaks() {
	[ -n "$kmemleak" ] || return 0
	sleep 6
	echo scan >"$kmemleak"
	echo scan >"$kmemleak"
	[ -n "$(cat "$kmemleak")" ] || return 0
	sed 's/^/# /' "$kmemleak"
	echo 'Bail out! kmemleak found unreferenced objects'
	echo clear >"$kmemleak"
}

# What is not ours sleeps and hopes, and so may fail on a busy machine: it is
# given three tries, and the last one counts.
for t; do
	case $t in epollstate/* | manual/*) tries=1 ;; *) tries=3 ;; esac
	start=$(cut -d. -f1 /proc/uptime)
	mark=begin
	while :; do
		echo "## $mark $t"
		status=0
		(cd "${t%/*}" && exec timeout -s KILL "${LIMIT:-600}" "./${t##*/}") </dev/null 2>&1 || status=$?
		tries=$((tries - 1))
		if [ "$status" = 0 ] || [ "$status" = 4 ] || [ "$tries" = 0 ]; then break; fi
		mark=again
	done
	leaks
	echo "## end $t $status $(($(cut -d. -f1 /proc/uptime) - start))"
done
echo "## done"
