/* LD_PRELOAD shim: a disk that fails once, and says so once (Linux since 4.13). MIT licence, as the rest of this repository.
 *
 * FAIL_FILE   end of the path of one file
 * FAIL_NOW    path of a file: when it is there the next fdatasync or fsync of FAIL_FILE fails with EIO, and it is removed
 *
 * What reached the disk is a copy beside the file, with ".disk" at its end: made whenever a sync succeeds, never after one failed. Syncs that
 * come after the failure succeed as the system's would, and reach nothing.
 *
 * gcc -O2 -shared -fPIC -o disk-failing.so disk-failing.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed;

static int is_file(int fd, char *path, size_t size) {
  const char *end = getenv("FAIL_FILE");
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = end ? readlink(link, path, size - 1) : -1;
  if (n < 0) return 0;
  path[n] = 0;
  size_t e = strlen(end);
  return (size_t)n >= e && strcmp(path + n - e, end) == 0;
}

static void copy(int fd, const char *path) {
  char to[4200], made[4200], block[65536];
  snprintf(to, sizeof to, "%s.disk", path);
  snprintf(made, sizeof made, "%s.disk.%d", path, (int)gettid());
  int out = open(made, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  off_t at = 0;
  ssize_t n;
  while (out >= 0 && (n = pread(fd, block, sizeof block, at)) > 0 && write(out, block, n) == n) at += n;
  if (out >= 0) close(out);
  rename(made, to);
}

static int sync_with(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  char path[4096];
  if (!is_file(fd, path, sizeof path)) return real(fd);
  const char *now = getenv("FAIL_NOW");
  if (!failed && now && unlink(now) == 0) {
    failed = 1;
    errno = EIO;
    return -1;
  }
  if (failed) return 0;
  /* Before the sync: what is written while it runs may not be part of it. */
  copy(fd, path);
  return real(fd);
}

int fdatasync(int fd) { return sync_with("fdatasync", fd); }
int fsync(int fd) { return sync_with("fsync", fd); }
