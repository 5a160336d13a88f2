/* Preloaded into a test's process: the Nth call of a kind on a spool's files fails, once or from then on, or writes too little.
 * Driven by ctypes: fault(kind, nth, errno, forever, at_most); seen() is how many calls of that kind there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE, WRITE, SYNC, TRUNCATE, READ };
static volatile int kind, nth, code, forever, at_most, calls;

void fault(int k, int n, int e, int f, int m) { kind = NONE; nth = n; code = e; forever = f; at_most = m; calls = 0; kind = k; }
int seen(void) { return calls; }

static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "spool.db") != NULL;
}

static int hit(int k, int fd) {
    if (kind != k || !ours(fd)) return 0;
    calls++;
    return forever ? calls >= nth : calls == nth;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)
#define WRITES(name) \
    ssize_t name(int fd, const void *data, size_t size, off_t at) { \
        REAL(ssize_t, #name, int, const void *, size_t, off_t); \
        if (hit(WRITE, fd)) { \
            if (at_most) return real(fd, data, size < (size_t)at_most ? size : (size_t)at_most, at); \
            errno = code; return -1; \
        } \
        return real(fd, data, size, at); \
    }
#define READS(name) \
    ssize_t name(int fd, void *data, size_t size, off_t at) { \
        REAL(ssize_t, #name, int, void *, size_t, off_t); \
        if (hit(READ, fd)) { errno = code; return -1; } \
        return real(fd, data, size, at); \
    }
#define SYNCS(name) int name(int fd) { REAL(int, #name, int); if (hit(SYNC, fd)) { errno = code; return -1; } return real(fd); }
#define TRUNCATES(name) \
    int name(int fd, off_t size) { REAL(int, #name, int, off_t); if (hit(TRUNCATE, fd)) { errno = code; return -1; } return real(fd, size); }

WRITES(pwrite) WRITES(pwrite64) READS(pread) READS(pread64) SYNCS(fsync) SYNCS(fdatasync) TRUNCATES(ftruncate) TRUNCATES(ftruncate64)
