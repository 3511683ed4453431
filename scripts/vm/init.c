// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the test guest.
 *
 * Prepares a usual user space, runs the job (/bin/sh /job), passes everything
 * it prints to the host over the virtio port "org.epollstate.result", sends
 * what it left in the out directory as a tar stream over "org.epollstate.out",
 * closes the result with the end mark, which carries the exit status, and
 * powers off.  The console is the kernel's alone.
 *
 * Nothing here reports success by itself: whatever goes wrong leaves the end
 * mark out, and the host takes a result without it for a failure.
 *
 * Words of the kernel command line:
 *   epollstate.root=9p   continue in the host's root file system (read-only)
 *   epollstate.tty       the job talks to the terminal hvc0
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END_MARK "\036epollstate-end status=%d\n"

static char cmdline[4096];
static const char *out_dir = "/out";

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "init: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(errno));
	power_off();
}

static int has_word(const char *word)
{
	const char *at = strstr(cmdline, word);
	size_t len = strlen(word);

	return at && (at == cmdline || at[-1] == ' ') &&
	       (!at[len] || at[len] == ' ' || at[len] == '\n');
}

static void try_mount(const char *dev, const char *dir, const char *type,
		      const char *data)
{
	mkdir(dir, 0755);
	if (mount(dev, dir, type, 0, data) && errno != ENODEV && errno != EBUSY)
		die("mount %s on %s", type, dir);
}

static void mount_all(void)
{
	try_mount("devtmpfs", "/dev", "devtmpfs", NULL);
	try_mount("devpts", "/dev/pts", "devpts", "ptmxmode=0666");
	try_mount("tmpfs", "/dev/shm", "tmpfs", "mode=1777");
	try_mount("proc", "/proc", "proc", NULL);
	try_mount("sysfs", "/sys", "sysfs", NULL);
	try_mount("debugfs", "/sys/kernel/debug", "debugfs", NULL);
	try_mount("tracefs", "/sys/kernel/tracing", "tracefs", NULL);
	try_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", NULL);
	try_mount("tmpfs", "/tmp", "tmpfs", "mode=1777");
	try_mount("tmpfs", "/run", "tmpfs", "mode=0755");
}

static void read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
}

/* A port's name reaches the guest a moment after the port does. */
static int open_port(const char *name)
{
	struct timespec pause = { .tv_nsec = 10000000 };

	for (int tries = 0; tries < 500; tries++) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *d;

		while (dir && (d = readdir(dir))) {
			char path[300], got[64];
			int fd;

			snprintf(path, sizeof(path),
				 "/sys/class/virtio-ports/%s/name", d->d_name);
			read_file(path, got, sizeof(got));
			got[strcspn(got, "\n")] = '\0';
			if (strcmp(got, name))
				continue;
			snprintf(path, sizeof(path), "/dev/%s", d->d_name);
			fd = open(path, O_RDWR | O_CLOEXEC);
			if (fd >= 0) {
				closedir(dir);
				return fd;
			}
		}
		if (dir)
			closedir(dir);
		nanosleep(&pause, NULL);
	}
	die("no virtio port %s", name);
}

static void enter_host_root(void)
{
	char buf[65536];
	ssize_t n;
	int from, to;

	mkdir("/host", 0755);
	if (mount("root", "/host", "9p", MS_RDONLY,
		  "trans=virtio,version=9p2000.L,cache=loose,msize=262144"))
		die("mount the host's root");
	from = open("/job", O_RDONLY | O_CLOEXEC);
	if (chdir("/host") || chroot("."))
		die("chroot");
	mount_all();
	to = open("/run/job", O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	if (from < 0 || to < 0)
		die("copy the job");
	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, n) != n)
			die("copy the job");
	close(from);
	close(to);
	mkdir("/tmp/home", 0700);
	setenv("HOME", "/tmp/home", 1);
	out_dir = "/tmp/out";
}

static void set_up(void)
{
	struct rlimit files = { 1048576, 1048576 };
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int sock;

	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/tmp", 1);
	setenv("LANG", "C.UTF-8", 1);
	umask(022);
	mount_all();
	read_file("/proc/cmdline", cmdline, sizeof(cmdline));
	if (has_word("epollstate.root=9p"))
		enter_host_root();
	mkdir(out_dir, 0755);
	setenv("OUT", out_dir, 1);
	if (setrlimit(RLIMIT_NOFILE, &files))
		die("RLIMIT_NOFILE");
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &lo))
		die("lo up");
	close(sock);
	if (sethostname("epollstate", 10))
		die("sethostname");
}

static pid_t start(char *const argv[], int in, int out, int err)
{
	pid_t pid = fork();
	sigset_t none;

	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	setsid();
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		die("dup2");
	if (isatty(0))
		ioctl(0, TIOCSCTTY, 1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (chdir("/"))
		die("chdir");
	execv(argv[0], argv);
	dprintf(2, "init: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("write to the host");
		buf += n;
		len -= n;
	}
}

/* Move what is there now; tells whether there was anything. */
static int pump(int from, int to)
{
	char buf[16384];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n > 0)
		write_all(to, buf, n);
	return n > 0;
}

static void on_child(int sig)
{
	(void)sig;
}

/*
 * Run until @pid ends, passing on what arrives in @from; returns its exit
 * status as a shell gives it.  Orphans are reaped on the way, and whatever
 * @pid left running is killed.  SIGCHLD is blocked except inside ppoll(), so
 * that no child's end can be missed.
 */
static int attend(pid_t pid, int from, int to, const sigset_t *unblocked)
{
	for (;;) {
		struct pollfd p = { .fd = from, .events = POLLIN };
		int status;
		pid_t got;

		while ((got = waitpid(-1, &status, WNOHANG)) > 0) {
			if (got != pid)
				continue;
			kill(-1, SIGKILL);
			while (from >= 0 && pump(from, to))
				;
			return WIFEXITED(status) ? WEXITSTATUS(status) :
						   128 + WTERMSIG(status);
		}
		if (ppoll(&p, 1, NULL, unblocked) > 0)
			pump(from, to);
	}
}

int main(void)
{
	char *job[] = { "/bin/sh", "/job", NULL };
	char *tar[] = { "/bin/tar", "-c", "-f", "-", "-C", NULL, ".", NULL };
	sigset_t block, unblocked;
	int result, out, pipes[2], in, status;
	char mark[64];
	pid_t pid;

	setvbuf(stderr, NULL, _IOLBF, 0);
	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, &unblocked);
	signal(SIGCHLD, on_child);
	signal(SIGPIPE, SIG_IGN);

	set_up();
	if (has_word("epollstate.root=9p"))
		job[1] = "/run/job";
	result = open_port("org.epollstate.result");
	out = open_port("org.epollstate.out");

	/* One write end stays open here: a pipe without writers polls HUP. */
	if (pipe2(pipes, O_CLOEXEC) || fcntl(pipes[0], F_SETFL, O_NONBLOCK))
		die("pipe");
	in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (has_word("epollstate.tty")) {
		in = open("/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);
		pid = start(job, in, in, in);
	} else {
		pid = start(job, in, pipes[1], pipes[1]);
	}
	status = attend(pid, pipes[0], result, &unblocked);

	tar[5] = (char *)out_dir;
	pid = start(tar, in, out, 2);
	if (attend(pid, -1, -1, &unblocked) && !status)
		status = 126;

	snprintf(mark, sizeof(mark), END_MARK, status);
	write_all(result, mark, strlen(mark));
	power_off();
}
