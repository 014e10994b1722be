/* A disk that fails: preloaded into the daemon, it answers chosen calls of fsync and fdatasync with an error.
 *
 * FAILING_SYNC holds a rule: PATTERN:NTH:ERRNO. The NTH call for a file whose path contains PATTERN fails, and no other.
 * As after a write that did not reach the disk, the second half of a regular file is zeros from then on, and each later
 * call succeeds. FAILING_SYNC_LOG names a file to which each failure is appended as a line, so that a test can tell that
 * its rule was met. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int calls;

static void lose_second_half(const char *path) {
    struct stat status;
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
        off_t half = status.st_size / 2;
        char *zeros = calloc(1, status.st_size - half + 1);
        if (zeros == NULL || pwrite(file, zeros, status.st_size - half, half) < 0) abort();
        free(zeros);
    }
    close(file);
}

/* The error that a call for this file is to report, or 0. */
static int fault(int file) {
    const char *rule = getenv("FAILING_SYNC");
    char pattern[256], path[4096], link[64];
    int nth, number, met;
    if (rule == NULL || sscanf(rule, "%255[^:]:%d:%d", pattern, &nth, &number) != 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strstr(path, pattern) == NULL) return 0;
    pthread_mutex_lock(&lock);
    met = ++calls == nth;
    pthread_mutex_unlock(&lock);
    if (!met) return 0;
    lose_second_half(path);
    const char *log_path = getenv("FAILING_SYNC_LOG");
    int log = open(log_path == NULL ? "/dev/stderr" : log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || dprintf(log, "%s\n", path) < 0) abort();
    close(log);
    return number;
}

#define REPLACE(call)                                             \
    int call(int file) {                                          \
        int number = fault(file);                                 \
        if (number != 0) {                                        \
            errno = number;                                       \
            return -1;                                            \
        }                                                         \
        int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, #call); \
        return real(file);                                        \
    }

REPLACE(fsync)
REPLACE(fdatasync)
REPLACE(syncfs)
