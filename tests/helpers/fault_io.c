/* Errors of a disk for what runs with this library in LD_PRELOAD: from some operation on files below
 * a folder on, that one alone, all on its file or all below the folder fail with a given errno. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum scope { ONCE, FILE_STAYS_BAD, DISK_STAYS_BAD };

static char folder[PATH_MAX], bad[PATH_MAX], first[PATH_MAX + 32];
static size_t folder_length;
static long last, number, hits;
static int error, scope;

/* From the operation `at` on (0 = never), they only count until then. */
void fault_io_arm(const char *below, long at, int how, int code) {
    snprintf(folder, sizeof folder, "%s", below);
    last = at, scope = how, error = code, number = hits = 0;
    bad[0] = first[0] = 0;
    __atomic_store_n(&folder_length, strlen(folder), __ATOMIC_SEQ_CST);
}

void fault_io_disarm(void) { __atomic_store_n(&folder_length, 0, __ATOMIC_SEQ_CST); }
long fault_io_number(void) { return number; }
long fault_io_hits(void) { return hits; }
const char *fault_io_first(void) { return first; }

static int fails(const char *operation, const char *path) {
    size_t length = __atomic_load_n(&folder_length, __ATOMIC_SEQ_CST);
    if (!length || !path || strncmp(path, folder, length)) return 0;
    if (path[length] && path[length] != '/') return 0; /* run-10, beside run-1 */
    long mine = __atomic_add_fetch(&number, 1, __ATOMIC_SEQ_CST);
    if (!last || mine < last) return 0;
    if (mine == last) {
        snprintf(bad, sizeof bad, "%s", path);
        snprintf(first, sizeof first, "%s %s", operation, path);
    } else if (scope == ONCE || (scope == FILE_STAYS_BAD && strcmp(path, bad))) {
        return 0;
    }
    __atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return 1;
}

static int fails_open(const char *operation, int descriptor) {
    char link[64], path[PATH_MAX];
    int before = errno;
    if (!__atomic_load_n(&folder_length, __ATOMIC_SEQ_CST)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return 0;
    path[length] = 0;
    return fails(operation, path);
}

#define REAL(name, type, ...)                                   \
    static type (*real)(__VA_ARGS__);                           \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* What takes an open file. */
#define ON_OPEN(type, name, parameters, arguments, ...) \
    type name parameters {                              \
        REAL(#name, type, __VA_ARGS__);                 \
        return fails_open(#name, fd) ? -1 : real arguments; \
    }

ON_OPEN(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n), int, void *, size_t)
ON_OPEN(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), int, const void *, size_t)
ON_OPEN(ssize_t, pread, (int fd, void *b, size_t n, off_t o), (fd, b, n, o), int, void *, size_t, off_t)
ON_OPEN(ssize_t, pread64, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o), int, void *, size_t, off64_t)
ON_OPEN(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), int, const void *, size_t, off_t)
ON_OPEN(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), int, const void *, size_t, off64_t)
ON_OPEN(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), int, const struct iovec *, int)
ON_OPEN(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), int, const struct iovec *, int)
ON_OPEN(int, fsync, (int fd), (fd), int)
ON_OPEN(int, fdatasync, (int fd), (fd), int)
ON_OPEN(int, ftruncate, (int fd, off_t n), (fd, n), int, off_t)
ON_OPEN(int, ftruncate64, (int fd, off64_t n), (fd, n), int, off64_t)

/* What takes a path; of two, the first. */
#define ON_PATH(type, failed, name, parameters, arguments, ...) \
    type name parameters {                                      \
        REAL(#name, type, __VA_ARGS__);                         \
        return fails(#name, path) ? failed : real arguments;    \
    }

ON_PATH(int, -1, rename, (const char *path, const char *to), (path, to), const char *, const char *)
ON_PATH(int, -1, renameat, (int from, const char *path, int into, const char *to), (from, path, into, to), int, const char *, int, const char *)
ON_PATH(int, -1, mkdir, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ON_PATH(int, -1, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), int, const char *, mode_t)
ON_PATH(int, -1, unlink, (const char *path), (path), const char *)
ON_PATH(int, -1, unlinkat, (int at, const char *path, int flags), (at, path, flags), int, const char *, int)
ON_PATH(int, -1, rmdir, (const char *path), (path), const char *)
ON_PATH(int, -1, link, (const char *path, const char *to), (path, to), const char *, const char *)
ON_PATH(DIR *, NULL, opendir, (const char *path), (path), const char *)

#define ON_OPENING(name)                                        \
    int name(const char *path, int flags, ...) {                \
        REAL(#name, int, const char *, int, ...);               \
        va_list more;                                           \
        va_start(more, flags);                                  \
        mode_t mode = va_arg(more, mode_t);                     \
        va_end(more);                                           \
        return fails("open", path) ? -1 : real(path, flags, mode); \
    }
#define ON_OPENING_AT(name)                                     \
    int name(int at, const char *path, int flags, ...) {        \
        REAL(#name, int, int, const char *, int, ...);          \
        va_list more;                                           \
        va_start(more, flags);                                  \
        mode_t mode = va_arg(more, mode_t);                     \
        va_end(more);                                           \
        return fails("open", path) ? -1 : real(at, path, flags, mode); \
    }

ON_OPENING(open)
ON_OPENING(open64)
ON_OPENING_AT(openat)
ON_OPENING_AT(openat64)
