/* A disk that fails on demand: loaded before the C library (LD_PRELOAD), it stands between a program and the files
 * under two folders. See faulty_disk.py.
 *
 * Under the folder of disk_watch(), every call that changes the disk is counted: opening a file for writing, write,
 * fsync, truncate, rename, mkdir, unlink. The call with the number that was asked for fails, alone or with all after it.
 * Under the folder of share_watch(), every call that reads is counted; the one that was asked for hangs, as on a
 * network share that does not answer, until it is let go, and then fails or goes on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_FILES 4096

struct watch {
    char folder[PATH_MAX];
    long count, at;
    int lasting, code;
};
static struct watch disk, share;
static volatile int hung, let_go;
static char of_disk[MOST_FILES], of_share[MOST_FILES];

#define REAL(result, name, ...)                                                                                        \
    static result (*real)(__VA_ARGS__);                                                                                \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);

static void set(struct watch *which, const char *folder, long at, int lasting, int code)
{
    snprintf(which->folder, sizeof which->folder, "%s", folder);
    which->at = at, which->lasting = lasting, which->code = code;
    __atomic_store_n(&which->count, 0, __ATOMIC_SEQ_CST);
}

void disk_watch(const char *folder, long at, int lasting, int code) { set(&disk, folder, at, lasting, code); }
long disk_count(void) { return disk.count; }
void share_watch(const char *folder, long at, int code) { hung = let_go = 0, set(&share, folder, at, 0, code); }
long share_count(void) { return share.count; }
int share_hung(void) { return hung; }
void share_let_go(void) { let_go = 1; }

static int under(const struct watch *which, const char *path)
{
    size_t length = strlen(which->folder);
    return length && path && !strncmp(path, which->folder, length) && (path[length] == '/' || !path[length]);
}

/* One call that changes the disk; -1 if it has to fail. */
static int change(void)
{
    long number = __atomic_add_fetch(&disk.count, 1, __ATOMIC_SEQ_CST);
    if (disk.at > 0 && (number == disk.at || (disk.lasting && number > disk.at))) {
        errno = disk.code;
        return -1;
    }
    return 0;
}

/* One call that reads from the share; -1 if it has to fail. */
static int look(void)
{
    long number = __atomic_add_fetch(&share.count, 1, __ATOMIC_SEQ_CST);
    if (share.at > 0 && number >= share.at && !let_go) {
        struct timespec pause = {0, 5000000};
        hung = 1;
        while (!let_go) nanosleep(&pause, NULL); /* a signal does not end it */
        if (share.code) {
            errno = share.code;
            return -1;
        }
    } else if (share.at > 0 && let_go && share.code) {
        errno = share.code;
        return -1;
    }
    return 0;
}

static int opened(int file, const char *path, int flags)
{
    if (file >= 0 && file < MOST_FILES) {
        of_disk[file] = under(&disk, path) && (flags & (O_WRONLY | O_RDWR));
        of_share[file] = under(&share, path);
    }
    return file;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        REAL(int, name, const char *, int, ...)                                                                        \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = va_arg(more, mode_t);                                                                            \
        va_end(more);                                                                                                  \
        if (under(&disk, path) && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && change()) return -1;                      \
        if (under(&share, path) && look()) return -1;                                                                  \
        return opened(real(path, flags, mode), path, flags);                                                           \
    }
OPEN(open)
OPEN(open64)

int close(int file)
{
    REAL(int, close, int)
    if (file >= 0 && file < MOST_FILES) of_disk[file] = of_share[file] = 0;
    return real(file);
}

#define MINE(file, which) ((file) >= 0 && (file) < MOST_FILES && which[file])

ssize_t write(int file, const void *data, size_t size)
{
    REAL(ssize_t, write, int, const void *, size_t)
    if (MINE(file, of_disk) && change()) {
        if (errno == ENOSPC && disk.lasting && disk.count == disk.at && size > 1) return real(file, data, size / 2);
        return -1;
    }
    return real(file, data, size);
}

ssize_t read(int file, void *data, size_t size)
{
    REAL(ssize_t, read, int, void *, size_t)
    return MINE(file, of_share) && look() ? -1 : real(file, data, size);
}

#define PREAD(name, offset_t)                                                                                          \
    ssize_t name(int file, void *data, size_t size, offset_t offset)                                                   \
    {                                                                                                                  \
        REAL(ssize_t, name, int, void *, size_t, offset_t)                                                             \
        return MINE(file, of_share) && look() ? -1 : real(file, data, size, offset);                                   \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define ON_FILE(name, ...)                                                                                             \
    int name(int file)                                                                                                 \
    {                                                                                                                  \
        REAL(int, name, int)                                                                                           \
        return MINE(file, of_disk) && change() ? -1 : real(file);                                                      \
    }
ON_FILE(fsync)
ON_FILE(fdatasync)

#define TRUNCATE(name, offset_t)                                                                                       \
    int name(int file, offset_t size)                                                                                  \
    {                                                                                                                  \
        REAL(int, name, int, offset_t)                                                                                 \
        return MINE(file, of_disk) && change() ? -1 : real(file, size);                                                \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to)
{
    REAL(int, rename, const char *, const char *)
    return under(&disk, to) && change() ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, mkdir, const char *, mode_t)
    return under(&disk, path) && change() ? -1 : real(path, mode);
}

int unlink(const char *path)
{
    REAL(int, unlink, const char *)
    if (disk.code == ENOSPC) return real(path); /* needs no space */
    return under(&disk, path) && change() ? -1 : real(path);
}

#define STAT(name, buffer)                                                                                             \
    int name(const char *path, struct buffer *found)                                                                   \
    {                                                                                                                  \
        REAL(int, name, const char *, struct buffer *)                                                                 \
        return under(&share, path) && look() ? -1 : real(path, found);                                                 \
    }
STAT(stat, stat)
STAT(stat64, stat64)

#define FSTAT(name, buffer)                                                                                            \
    int name(int file, struct buffer *found)                                                                           \
    {                                                                                                                  \
        REAL(int, name, int, struct buffer *)                                                                          \
        return MINE(file, of_share) && look() ? -1 : real(file, found);                                                \
    }
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

DIR *opendir(const char *path)
{
    REAL(DIR *, opendir, const char *)
    return under(&share, path) && look() ? NULL : real(path);
}
