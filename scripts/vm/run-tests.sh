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
for t; do
	echo "## begin $t"
	start=$(cut -d. -f1 /proc/uptime)
	(cd "${t%/*}" && exec timeout -s KILL "${LIMIT:-600}" "./${t##*/}") </dev/null 2>&1
	status=$?
	echo "## end $t $status $(($(cut -d. -f1 /proc/uptime) - start))"
done
echo "## done"
