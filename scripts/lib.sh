# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the scripts share: where things are, how they report.  Sourced first
# thing by each of them.  All of these come from the environment or `make`:
#   BASE    directory under patches/ of the kernel base (linux-6.12)
#   CONFIG  the guest kernel's configuration: small, debug or kcsan
#   ARCH    the guest's processor: x86_64, arm64 or s390x
#   KSRC    a kernel tree to use instead of the package; it is never modified
#   EPOLLSTATE_CACHE  where the kernel trees live (~/.cache/epollstate)
#   EPOLLSTATE_BUILD  where guest programs, results and logs go (build/)

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BASE=${BASE:-linux-6.12}
CONFIG=${CONFIG:-small}
KSRC=${KSRC:-}
cache_root=${EPOLLSTATE_CACHE:-$HOME/.cache/epollstate}
# What differs between processors.  The kernel's makefiles read ARCH and
# CROSS_COMPILE as well, so they have the kernel's names from here on.
native=x86_64 vm_words='' cpu=max
case ${ARCH:-$native} in
x86_64)
	ARCH=x86_64 deb_arch=amd64 gcc=cc triplet='' bus=pci
	qemu_program=qemu-system-x86_64 qemu_package=qemu-system-x86 machine=q35
	image_target=bzImage image_file=arch/x86/boot/bzImage vm_words=console=ttyS0 ;;
arm64 | aarch64)
	ARCH=arm64 deb_arch=arm64 triplet=aarch64-linux-gnu bus=pci
	qemu_program=qemu-system-aarch64 qemu_package=qemu-system-arm machine=virt
	image_target=Image image_file=arch/arm64/boot/Image vm_words=console=ttyAMA0 ;;
s390 | s390x)
	# Vector instructions come out wrong in QEMU 7.2: a plain send(2) of a
	# large datagram, whose checksum is made with them, fails with EFAULT.
	cpu=max,vx=off
	ARCH=s390 deb_arch=s390x triplet=s390x-linux-gnu bus=ccw
	qemu_program=qemu-system-s390x qemu_package=qemu-system-misc machine=s390-ccw-virtio
	image_target=bzImage image_file=arch/s390/boot/bzImage vm_words=console=ttysclp0 ;;
*) echo "no ARCH '$ARCH': x86_64, arm64 or s390x" >&2; exit 1 ;;
esac
export ARCH
# In the names of what is built for another processor.
for_arch=''
if [ "$ARCH" != "$native" ]; then
	export CROSS_COMPILE=$triplet-
	gcc=$triplet-gcc for_arch=-$ARCH
	# See scripts/fetch-programs.
	PATH=$cache_root/compiler-$deb_arch/bin:$PATH
fi
cache=$cache_root/$BASE
if [ -n "$KSRC" ]; then
	[ -d "$KSRC" ] || { echo "KSRC=$KSRC is not a directory" >&2; exit 1; }
	KSRC=$(realpath "$KSRC")
	cache=$cache-ksrc-$(cksum <<<"$KSRC" | cut -d' ' -f1)
fi
# A guest's memory in MB, and how many times longer it may take: checkers cost.
case $CONFIG in
debug | kcsan) guest_mem=4096 patience=6 ;;
*) guest_mem=1024 patience=1 ;;
esac
build=${EPOLLSTATE_BUILD:-$top/build}${for_arch/-//}
logs=$build/logs
# What becomes the guest's initial file system, path for path.
guest=$build/guest
me=$(basename "$0")
export LC_ALL=C

say() { printf '%s: %s\n' "$me" "$*"; }
warn() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { warn "$*"; exit 1; }

need() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null ||
			die "$tool is not installed: run scripts/deps (or make deps)"
	done
}

# src_dir/build_dir stock|patched
src_dir() { printf '%s/src-%s' "$cache" "$1"; }
build_dir() { printf '%s/build-%s%s-%s' "$cache" "$CONFIG" "$for_arch" "$1"; }

is_kind() { case $1 in stock | patched) ;; *) die "no kernel '$1': say stock or patched" ;; esac; }

# The one word of patches/$BASE/base behind a key: package, version, sha256.
base_value() {
	local file=$top/patches/$BASE/base
	[ -f "$file" ] || die "no kernel base '$BASE': $file is missing"
	sed -n "s/^$1[[:space:]]\+//p" "$file"
}

# One quoted word that every POSIX shell reads back unchanged.
quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

# Hold the cache for the rest of this process and its children.
lock_cache() {
	[ -n "${EPOLLSTATE_LOCKED:-}" ] && return
	mkdir -p "$cache" 2>/dev/null || die "cannot create $cache: set EPOLLSTATE_CACHE to a writable place"
	exec 9>"$cache/lock"
	if ! flock -n 9; then
		say "another run uses $cache: waiting for it"
		flock 9
	fi
	export EPOLLSTATE_LOCKED=1
}

# room DIRECTORY MEGABYTES: stop before a disk runs full, not in the middle.
room() {
	local free
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] ||
		die "only $free MB free in $1, $2 MB are needed: make room or set EPOLLSTATE_CACHE"
}
