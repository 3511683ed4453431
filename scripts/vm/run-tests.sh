#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The job of "make test" in the guest: runs the kselftests one after the other
# and frames what each prints, for scripts/vm/tap to judge.
#   TESTS=PATTERNS  only programs whose name (dir/program) contains one of them
#   LIMIT=S        seconds until a program counts as hung (600)
cd /tests || exit 1
list=$(find . -type f -perm -100 | sed 's,^\./,,' | sort | while read -r t; do
	[ -n "${TESTS:-}" ] || echo "$t"
	for pattern in ${TESTS:-}; do
		# shellcheck disable=SC2254
		case $t in *$pattern*) echo "$t"; break ;; esac
	done
done)
# shellcheck disable=SC2086
set -- $list

# A debug kernel looks for memory that nobody refers to any more: what is left
# of the boot is none of ours, what all the tests leave is.
programs=$# leaks=''
if /tools/kmemleak clear; then leaks=1 programs=$(($# + 1)); fi
echo "## plan $programs"
uptime() { cut -d. -f1 /proc/uptime; }

# What is not ours sleeps and hopes, and so may fail on a busy machine: it is
# given three tries, in one of which each test has to pass.
for t; do
	case $t in epollstate/* | manual/*) tries=1 ;; *) tries=3 ;; esac
	start=$(uptime)
	mark=begin
	while :; do
		echo "## $mark $t"
		status=0
		(cd "${t%/*}" && exec timeout -s KILL "${LIMIT:-600}" "./${t##*/}") </dev/null 2>&1 || status=$?
		tries=$((tries - 1))
		if [ "$status" = 0 ] || [ "$status" = 4 ] || [ "$tries" = 0 ]; then break; fi
		mark=again
	done
	echo "## end $t $status $(($(uptime) - start))"
done
if [ -n "$leaks" ]; then
	start=$(uptime)
	printf '%s\n' '## begin kmemleak' 'TAP version 13' 1..1
	status=0
	/tools/kmemleak show >/tmp/kmemleak || status=$?
	sed 's/^/# /' /tmp/kmemleak
	[ "$status" = 0 ] || printf 'not '
	echo 'ok 1 every object is referred to by something'
	echo "## end kmemleak $status $(($(uptime) - start))"
fi
echo "## done"
