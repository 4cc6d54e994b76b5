/* A disk quota that a test uses up and gives back while the program runs, for LD_PRELOAD; and other
 * errors of a disk, by call.
 *
 * QUOTA_FOLDER names the folder, as the system does (absolute, without links), and QUOTA_SWITCH a file.
 * From when that file is there until it is gone, calls on files below the folder, and on the folder
 * itself, fail as it says:
 *
 *     ERROR CALL[,CALL...] [NTH]
 *
 * such as "EDQUOT write,ftruncate,fallocate" or "EIO fdatasync 3". A call is `write` (with pwrite,
 * writev and pwritev), `ftruncate`, `fallocate`, `fsync`, `fdatasync`, or `rename`, which counts by the
 * name it would make. With NTH only the so many-th of them fails, counted from 1 since the file was
 * made; without, each does. A call that fails has done nothing.
 *
 * The file is asked for at every such call and should appear whole, by a rename. Nothing here
 * allocates or looks up a symbol. The program finds these in place of the C library's; what calls the
 * kernel by itself is not reached. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "a 64-bit machine");

static const struct {
    const char *name;
    int number;
} errors[] = {
    {"EDQUOT", EDQUOT}, {"ENOSPC", ENOSPC}, {"EFBIG", EFBIG}, {"EIO", EIO}, {"EROFS", EROFS},
};

static const char known_calls[] = ",write,ftruncate,fallocate,fsync,fdatasync,rename,";

struct wish {
    int error;
    /* With a comma on both sides of each, as above. */
    char calls[128];
    long nth;
};

static char folder[PATH_MAX], switch_file[PATH_MAX];

__attribute__((constructor)) static void read_the_environment(void)
{
    const char *below = getenv("QUOTA_FOLDER"), *by = getenv("QUOTA_SWITCH");
    if (!below || !by)
        return;
    snprintf(folder, sizeof(folder), "%s", below);
    snprintf(switch_file, sizeof(switch_file), "%s", by);
}

/* A test that wishes for what there is not must not look as if all went well. */
static void give_up(const char *why)
{
    dprintf(STDERR_FILENO, "%s: %s\n", switch_file, why);
    abort();
}

static int is_listed(const char *call, const char *calls)
{
    char listed[128];
    snprintf(listed, sizeof(listed), ",%s,", call);
    return strstr(calls, listed) != NULL;
}

/* Reads the switch, and which one it is. 0 when there is none. */
static int read_wish(struct wish *wish, struct stat *identity)
{
    char text[160], name[16], calls[120];
    int file = open(switch_file, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, text, sizeof(text) - 1);
    int failed = length < 0 || fstat(file, identity);
    close(file);
    if (failed)
        give_up("cannot be read");
    text[length] = 0;
    wish->nth = 0;
    if (sscanf(text, "%15s %119s %ld", name, calls, &wish->nth) < 2)
        give_up("ERROR CALL[,CALL...] [NTH]");
    snprintf(wish->calls, sizeof(wish->calls), ",%s,", calls);
    for (char *rest = calls, *call; (call = strsep(&rest, ","));)
        if (!is_listed(call, known_calls))
            give_up("no such call");
    for (size_t at = 0; at < sizeof(errors) / sizeof(*errors); at++) {
        if (!strcmp(errors[at].name, name)) {
            wish->error = errors[at].number;
            return 1;
        }
    }
    give_up("no such error");
    return 0;
}

/* Counts the calls that one switch is about, from 1. */
static long count(const struct stat *identity)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    static struct stat last;
    static long calls;
    while (atomic_flag_test_and_set(&busy))
        ;
    if (last.st_ino != identity->st_ino || last.st_mtim.tv_sec != identity->st_mtim.tv_sec ||
        last.st_mtim.tv_nsec != identity->st_mtim.tv_nsec) {
        last = *identity;
        calls = 0;
    }
    long number = ++calls;
    atomic_flag_clear(&busy);
    return number;
}

static int is_below(int file)
{
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    size_t prefix = strlen(folder);
    return !strncmp(path, folder, prefix) && (path[prefix] == '/' || !path[prefix]);
}

/* Whether the folder in which this name is, or would be, is below ours. */
static int is_name_below(int at, const char *name)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(name, '/');
    if (!slash)
        strcpy(parent, ".");
    else
        snprintf(parent, sizeof(parent), "%.*s/", (int)(slash - name), name);
    int file = openat(at, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return 0;
    int below = is_below(file);
    close(file);
    return below;
}

/* The error this call is to fail with, or 0. `name` is that of a rename, in the folder `file`. */
static int error_of(const char *call, int file, const char *name)
{
    struct wish wish;
    struct stat identity;
    int error = 0, before = errno;
    if (*switch_file && read_wish(&wish, &identity) && is_listed(call, wish.calls) &&
        (name ? is_name_below(file, name) : is_below(file)) &&
        (!wish.nth || count(&identity) == wish.nth))
        error = wish.error;
    errno = before;
    return error;
}

static long fail(int error)
{
    errno = error;
    return -1;
}

ssize_t write(int file, const void *data, size_t length)
{
    int error = error_of("write", file, NULL);
    return error ? fail(error) : syscall(SYS_write, file, data, length);
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset)
{
    int error = error_of("write", file, NULL);
    return error ? fail(error) : syscall(SYS_pwrite64, file, data, length, offset);
}

ssize_t pwrite64(int, const void *, size_t, off64_t) __attribute__((alias("pwrite")));

ssize_t writev(int file, const struct iovec *parts, int count)
{
    int error = error_of("write", file, NULL);
    return error ? fail(error) : syscall(SYS_writev, file, parts, count);
}

ssize_t pwritev2(int file, const struct iovec *parts, int count, off_t offset, int flags)
{
    int error = error_of("write", file, NULL);
    return error ? fail(error) : syscall(SYS_pwritev2, file, parts, count, offset, 0L, flags);
}

ssize_t pwritev64v2(int, const struct iovec *, int, off64_t, int) __attribute__((alias("pwritev2")));

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset)
{
    return pwritev2(file, parts, count, offset, 0);
}

ssize_t pwritev64(int, const struct iovec *, int, off64_t) __attribute__((alias("pwritev")));

int ftruncate(int file, off_t length)
{
    int error = error_of("ftruncate", file, NULL);
    return error ? fail(error) : syscall(SYS_ftruncate, file, length);
}

int ftruncate64(int, off64_t) __attribute__((alias("ftruncate")));

int fallocate(int file, int mode, off_t offset, off_t length)
{
    int error = error_of("fallocate", file, NULL);
    return error ? fail(error) : syscall(SYS_fallocate, file, mode, offset, length);
}

int fallocate64(int, int, off64_t, off64_t) __attribute__((alias("fallocate")));

int fsync(int file)
{
    int error = error_of("fsync", file, NULL);
    return error ? fail(error) : syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    int error = error_of("fdatasync", file, NULL);
    return error ? fail(error) : syscall(SYS_fdatasync, file);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    int error = error_of("rename", to, new);
    return error ? fail(error) : syscall(SYS_renameat2, from, old, to, new, flags);
}

int renameat(int from, const char *old, int to, const char *new)
{
    return renameat2(from, old, to, new, 0);
}

int rename(const char *old, const char *new)
{
    return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}
