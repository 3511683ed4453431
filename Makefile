# SPDX-License-Identifier: GPL-2.0
# A thin front for scripts/; each of these is a script of its own there.
#
#   BASE=linux-6.12        the kernel base, a directory under patches/ (or linux-7.2)
#   CONFIG=small           the guest kernel's configuration; debug, kcsan: full of checkers
#   ARCH=x86_64            the guest's processor; arm64, s390x: compiled across, emulated
#   KSRC=DIR               a kernel tree to use instead of the package
#   KERNEL=stock|patched   the kernel to boot
#   EPOLLSTATE_CACHE=DIR   where kernel trees and builds live

export BASE CONFIG ARCH KSRC KERNEL TESTS SMP CMD ROW BENCH SCALE PORT SHIFTS

.DEFAULT_GOAL := help

help:
	@echo 'make run               see it work: an echo server on the patched kernel, a live table, a summary'
	@echo 'make test              test it: kselftests on the patched and the unpatched kernel (TESTS=patterns SMP=n)'
	@echo 'make serve             keep an echo server up, reachable on a loopback port of this machine (PORT=7777)'
	@echo 'make shell             a shell on the patched kernel, in this file system, read-only'
	@echo "make exec CMD='...'    one command there: its output and its exit status"
	@echo 'make bench             costs in instructions, unpatched against patched, and make peers'
	@echo 'make peers             EPOLLSTATE against the ways events are handled today (BENCH=workload)'
	@echo 'make check             style, hooks, compilers and checkers, interfaces: all that needs no guest'
	@echo 'make check-long        and what takes minutes: other configurations'
	@echo 'make test-long         what takes hours: checkers, four processors, fuzzing, load, other people'"'"'s suites'
	@echo 'make perf-bench        perf bench epoll of the kernel tree, unpatched against patched'
	@echo 'make suites            suites of others, the same results on both kernels? (scripts/suites NAME: one)'
	@echo 'make deb               Debian packages of the patched kernel: CONFIG=small|distro|running|FILE'
	@echo 'make series            the patches as they are mailed, with a cover letter, in build/series-BASE'
	@echo 'make bisect-check      each of them compiles, boots and passes its tests (takes long)'
	@echo 'make build             only build'
	@echo 'make deps              install the packages that are missing'
	@echo 'make clean distclean   delete build/; and the cache with the kernel trees as well'
	@echo 'Variables: KERNEL=stock|patched KSRC=DIR BASE=linux-6.12|linux-7.2 CONFIG=small ARCH=arm64|s390x EPOLLSTATE_CACHE=DIR'

targets := deps build run test serve shell exec bench peers check check-long test-long perf-bench suites series bisect-check deb clean distclean
$(targets):
	@scripts/$@

.PHONY: help $(targets)
