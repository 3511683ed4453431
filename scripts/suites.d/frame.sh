# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the jobs of scripts/suites share, in the guest: each program's output
# stands between two marks, for scripts/suites-compare to read.
#   ROOT  where scripts/fetch-programs has unpacked the suites' packages
cd /tmp || exit 1
PATH=$ROOT/usr/bin:$ROOT/usr/sbin:$PATH
LD_LIBRARY_PATH=$ROOT/usr/lib/x86_64-linux-gnu:$ROOT/lib/x86_64-linux-gnu
export PATH LD_LIBRARY_PATH

# run NAME COMMAND...: one program, in the directory we are in.  A program that
# sleeps and hopes may fail on a busy machine: TRIES of it, the last one counts.
run() {
	name=$1 tries=${TRIES:-1}
	shift
	while :; do
		status=0
		echo "## begin $name"
		timeout -s KILL "${LIMIT:-600}" "$@" </dev/null 2>&1 || status=$?
		tries=$((tries - 1))
		if [ "$status" = 0 ] || [ "$status" = 4 ] || [ "$tries" = 0 ]; then break; fi
	done
	echo
	echo "## end $name $status"
}

# wait_for COMMAND...: until it succeeds.
wait_for() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ "$n" -lt 600 ] || { echo "gave up on: $*"; return 1; }
		sleep 0.1
	done
}
