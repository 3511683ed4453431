/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before the kernel's own epoll tests.  Two of them spin with more
 * threads than the guest has processors, which takes longer than the 30
 * seconds of the harness where processors are emulated.  With a kernel full of
 * checkers, included before ours as well.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "kselftest_harness.h"
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 400
#undef TEST_F_TIMEOUT
#define TEST_F_TIMEOUT(fixture_name, test_name, timeout) \
	__TEST_F_IMPL(fixture_name, test_name, -1, 10 * (timeout))
