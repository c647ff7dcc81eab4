// Calls every hooked function once, each in a case of its own: `calls NAME`. Without a name it lists
// the cases. The directory holds `old` (20000 x 'o'), `old2`, `link` to `old`, and an empty `dir`.
// A case that begins with `attribute_` changes attributes of `old`, one with `sync_` asks for its
// durability, one with `map_` maps it.
#include <aio.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>
#include <utmp.h>
#include <utmpx.h>
#include <sched.h>

// Names that headers do not declare, or declare as something else.
ssize_t __write(int, const void *, size_t);
ssize_t __pwrite64(int, const void *, size_t, off64_t);
int __open(const char *, int, ...);
int __open64(const char *, int, ...);
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
int __close(int);
int __dup2(int, int);
int __fcntl(int, int, ...);
off_t __lseek(int, off_t, int);
int __vdprintf_chk(int, int, const char *, va_list);
void closefrom(int);
int __dprintf_chk(int, int, const char *, ...);

static void must(long good, const char *what) {
    if (!good) { perror(what); exit(1); }
}
#define MUST(x) must((x) >= 0, #x)
#define MUST_NOT_NULL(x) must((x) != NULL, #x)

static int new_file(void) { int f = open("new", O_RDWR | O_CREAT, 0644); MUST(f); return f; }
static int old_file(void) { int f = open("old", O_RDWR); MUST(f); return f; }
static struct iovec two[] = {{"hello ", 6}, {"world", 5}};
static void print(int fd, const char *format, ...) {
    va_list l; va_start(l, format); MUST(vdprintf(fd, format, l)); va_end(l);
}
static void print_chk(int fd, const char *format, ...) {
    va_list l; va_start(l, format); MUST(__vdprintf_chk(fd, 1, format, l)); va_end(l);
}
static void to_stderr(void) { int f = new_file(); MUST(dup2(f, 2)); }

#define CASES \
C(write, int f = new_file(); MUST(write(f, "hello", 5)); MUST(write(f, " all", 4)); MUST(close(f))) \
C(write_append, int f = open("old", O_WRONLY | O_APPEND); MUST(write(f, "hello", 5))) \
C(write_unclosed, int f = new_file(); for (int i = 0; i < 1000; i++) MUST(write(f, "hello", 5)); _exit(0)) \
C(__write, int f = new_file(); MUST(__write(f, "hello", 5)); MUST(__close(f))) \
C(pwrite, int f = old_file(); MUST(pwrite(f, "x", 1, 5000)); MUST(pwrite64(f, "y", 1, 6000)); MUST(__pwrite64(f, "z", 1, 30000))) \
C(pwrite_append, int f = open("old", O_WRONLY | O_APPEND); MUST(pwrite(f, "hello", 5, 3))) \
C(writev, int f = new_file(); MUST(writev(f, two, 2)); MUST(writev(f, two, 2))) \
C(pwritev, int f = old_file(); MUST(pwritev(f, two, 2, 100)); MUST(pwritev64(f, two, 1, 200))) \
C(pwritev2, int f = old_file(); MUST(pwritev2(f, two, 2, 100, 0)); MUST(pwritev64v2(f, two, 2, -1, 0)); MUST(pwritev2(f, two, 2, 0, RWF_APPEND))) \
C(lseek, int f = old_file(); MUST(lseek(f, 500, SEEK_SET)); MUST(write(f, "a", 1)); MUST(lseek64(f, -300, SEEK_CUR)); MUST(write(f, "b", 1)); \
    MUST(__lseek(f, 0, SEEK_END)); MUST(write(f, "c", 1)); MUST(lseek(f, 7, SEEK_SET)); MUST(write(f, "d", 1))) \
C(seek_back_to_expected, int f = old_file(); MUST(write(f, "0123456789", 10)); MUST(lseek(f, 5000, SEEK_SET)); MUST(write(f, "abcd", 4)); MUST(lseek(f, 14, SEEK_SET)); MUST(write(f, "z", 1))) \
C(read_between, int f = old_file(); char b[100]; MUST(write(f, "xx", 2)); MUST(read(f, b, 100)); MUST(write(f, "yy", 2)); MUST(read(f, b, 50)); MUST(write(f, "zz", 2))) \
C(sendfile, int f = new_file(), g = old_file(); MUST(sendfile(f, g, NULL, 9000)); off64_t o = 100; MUST(sendfile64(f, g, &o, 50))) \
C(copy_file_range, int f = new_file(), g = old_file(); MUST(copy_file_range(g, NULL, f, NULL, 9000, 0)); off64_t i = 5, o = 50000; MUST(copy_file_range(g, &i, f, &o, 300, 0)); \
    must(copy_file_range(g, &i, f, (off64_t *)8, 300, 0) < 0 && errno == EFAULT, "a bad pointer")) \
C(splice, int f = new_file(), p[2]; MUST(pipe(p)); MUST(write(p[1], "in a pipe", 9)); MUST(splice(p[0], NULL, f, NULL, 5, 0)); off64_t o = 1000; MUST(splice(p[0], NULL, f, &o, 4, 0))) \
C(truncate, MUST(truncate("old", 100)); MUST(truncate64("old2", 300))) \
C(ftruncate, int f = old_file(); MUST(ftruncate(f, 100)); MUST(ftruncate64(f, 30000)); MUST(pwrite(f, "x", 1, 29000))) \
C(fallocate, int f = old_file(); MUST(fallocate(f, FALLOC_FL_ZERO_RANGE, 100, 5000)); MUST(fallocate64(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096)); MUST(fallocate(f, 0, 0, 40000))) \
C(collapse, int f = new_file(); static char b[65536]; for (int i = 0; i < 65536; i++) b[i] = i >> 8; MUST(pwrite(f, b, sizeof b, 0)); MUST(fsync(f)); MUST(fallocate(f, FALLOC_FL_COLLAPSE_RANGE, 4096, 8192)); MUST(fallocate(f, FALLOC_FL_INSERT_RANGE, 16384, 4096))) \
C(posix_fallocate, int f = new_file(); must(posix_fallocate(f, 0, 9000) == 0, "allocate"); must(posix_fallocate64(f, 9000, 9000) == 0, "allocate"); MUST(pwrite(f, "x", 1, 17000))) \
C(ioctl, int f = new_file(), g = old_file(); struct file_clone_range r = {g, 0, 4096, 0}; ioctl(f, FICLONE, g); ioctl(f, FICLONERANGE, &r); MUST(write(f, "x", 1))) \
C(vdprintf, int f = new_file(); print(f, "%d and %s", 5, "six"); print_chk(f, "%d and %s", 7, "eight"); MUST(close(f))) \
C(dprintf, int f = new_file(); MUST(dprintf(f, "%d and %s and %f", 5, "six", 7.5)); MUST(dprintf(f, "%s\n", "more"))) \
C(dprintf_chk, int f = new_file(); MUST(__dprintf_chk(f, 1, "%d %s %g %d %d %d %d %g %s", 1, "two", 3.5, 4, 5, 6, 7, 8.5, "nine")); MUST(dprintf(f, "%g %g %g %g %g %g %g %g %g %d %d %d %d %d", 1., 2., 3., 4., 5., 6., 7., 8., 9., 1, 2, 3, 4, 5))) \
C(aio, int f = new_file(); struct aiocb a[3] = {}; for (int i = 0; i < 3; i++) { a[i].aio_fildes = f; a[i].aio_buf = "later"; a[i].aio_nbytes = 5; a[i].aio_offset = i * 9000; MUST(aio_write(&a[i])); } \
    for (int i = 0; i < 2; i++) { while (aio_error(&a[i]) == EINPROGRESS) ; must(aio_return(&a[i]) == 5, "aio_return"); } \
    struct aiocb64 b = {.aio_fildes = f, .aio_buf = "more", .aio_nbytes = 4, .aio_offset = 50000}; MUST(aio_write64(&b)); while (aio_error64(&b) == EINPROGRESS) ; MUST(aio_return64(&b)); \
    while (aio_error(&a[2]) == EINPROGRESS) ; if (fork() == 0) { MUST(aio_return(&a[2])); _exit(0); } wait(NULL)) \
C(accounts, struct utmpx x = {.ut_type = USER_PROCESS}; struct utmp u = {.ut_type = USER_PROCESS}; MUST(close(new_file())); updwtmp("new", &u); updwtmpx("new", &x)) \
C(psiginfo, to_stderr(); siginfo_t s = {.si_signo = SIGINT}; psiginfo(&s, "text"); psignal(SIGINT, "text")) \
C(herror, to_stderr(); h_errno = HOST_NOT_FOUND; herror("text"); errno = ENOENT; perror("text")) \
C(backtrace_symbols_fd, int f = new_file(); void *a[] = {(void *)8}; backtrace_symbols_fd(a, 1, f)) \
C(stdio, FILE *f = fopen("new", "w"); MUST_NOT_NULL(f); fputs("hello", f); fprintf(f, "%d", 5); MUST(fflush(f)); MUST(fseek(f, 10000, SEEK_SET)); fputc('x', f); MUST(fclose(f))) \
C(stdio_rewrite, FILE *f = fopen64("old", "r+"); MUST_NOT_NULL(f); for (int i = 0; i < 5; i++) { MUST(fseek(f, i * 3000, SEEK_SET)); fputs("hello", f); char b[10]; MUST(fseek(f, 10, SEEK_CUR)); fread(b, 1, 10, f); MUST(fseek(f, 0, SEEK_CUR)); fputs("again", f); } MUST(fclose(f))) \
C(stdio_append, FILE *f = fopen("old", "a"); MUST_NOT_NULL(f); fputs("hello", f); MUST(fclose(f))) \
C(stdio_unclosed, FILE *f = fopen("new", "w"); MUST_NOT_NULL(f); for (int i = 0; i < 9999; i++) fputs("hello", f)) \
C(freopen, MUST_NOT_NULL(freopen("new", "w", stdout)); puts("hello"); MUST_NOT_NULL(freopen64("new2", "w", stdout)); puts("more"); MUST_NOT_NULL(freopen("old", "a", stdout)); puts("most")) \
C(fdopen, int f = open("old", O_WRONLY); MUST(write(f, "x", 1)); FILE *g = fdopen(f, "a"); MUST_NOT_NULL(g); fputs("end", g); MUST(fclose(g))) \
C(tmpfile, FILE *f = tmpfile(); MUST_NOT_NULL(f); fputs("x", f); FILE *g = tmpfile64(); fputs("x", g); fclose(f); fclose(g); write(new_file(), "x", 1)) \
C(popen, FILE *p = popen("cat >new", "w"); MUST_NOT_NULL(p); fputs("hello", p); int n = fileno(p); MUST(pclose(p)); int f = open("new2", O_WRONLY | O_CREAT, 0644); MUST(write(f, "same number", 11))) \
C(popen_fclose, FILE *p = popen("cat >/dev/null", "w"); MUST_NOT_NULL(p); fputs("hello", p); MUST(fclose(p)); FILE *f = fopen("new", "w"); fputs("same number", f); fclose(f)) \
C(open, MUST(open("new", O_WRONLY | O_CREAT, 0600)); MUST(open("old", O_WRONLY | O_TRUNC)); MUST(open64("new2", O_WRONLY | O_CREAT | O_EXCL, 0600)); MUST(__open("new3", O_CREAT, 0600)); MUST(__open64("new4", O_CREAT, 0600))) \
C(open_link, MUST(open("link", O_WRONLY | O_TRUNC)); MUST(open("link", O_WRONLY | O_CREAT, 0600)); MUST(symlink("dir/target", "dangling")); MUST(open("dangling", O_WRONLY | O_CREAT, 0600))) \
C(openat, int d = open("dir", O_PATH); MUST(openat(d, "new", O_WRONLY | O_CREAT, 0600)); MUST(openat64(d, "new2", O_WRONLY | O_CREAT, 0600)); MUST(openat(d, "../old", O_WRONLY | O_TRUNC))) \
C(open_2, MUST(__open_2("old", O_WRONLY | O_TRUNC)); MUST(__open64_2("old2", O_WRONLY | O_TRUNC)); MUST(__openat_2(AT_FDCWD, "old", O_WRONLY)); MUST(__openat64_2(AT_FDCWD, "old", O_WRONLY))) \
C(open_tmpfile, int f = open("dir", O_TMPFILE | O_WRONLY, 0600); MUST(f); MUST(write(f, "hello", 5)); char p[64]; sprintf(p, "/proc/self/fd/%d", f); MUST(linkat(AT_FDCWD, p, AT_FDCWD, "new", AT_SYMLINK_FOLLOW))) \
C(creat, MUST(creat("new", 0600)); MUST(creat64("old", 0600))) \
C(close, int f = new_file(); MUST(write(f, "x", 1)); MUST(close(f)); int g = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(g, "other", 5))) \
C(close_range, int f = new_file(); MUST(write(f, "x", 1)); MUST(close_range(f, f, 0)); int g = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(g, "other", 5)); closefrom(g); int h = open("new3", O_WRONLY | O_CREAT, 0600); MUST(write(h, "third", 5))) \
C(dup, int f = new_file(), g = dup(f), h = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(f, "abc", 3)); MUST(write(g, "def", 3)); MUST(write(f, "ghi", 3)); MUST(write(h, "x", 1)); MUST(dup2(f, h)); MUST(write(h, "jkl", 3)); \
    MUST(dup3(g, h, O_CLOEXEC)); MUST(write(h, "mno", 3)); MUST(__dup2(f, 77)); MUST(write(77, "pqr", 3))) \
C(high_descriptor, int f = new_file(); if (dup2(f, 900) < 0) exit(0); MUST(write(900, "abc", 3)); int g = open("new2", O_WRONLY | O_CREAT, 0600); if (dup2(g, 1500) >= 0) { MUST(write(1500, "high", 4)); MUST(pwrite(1500, "er", 2, 50)); MUST(dup2(f, 1500)); MUST(write(1500, "x", 1)); }) \
C(fcntl, int f = new_file(), g = fcntl(f, F_DUPFD, 50), h = fcntl64(f, F_DUPFD_CLOEXEC, 60); MUST(write(f, "abc", 3)); MUST(write(g, "def", 3)); MUST(write(h, "ghi", 3)); MUST(__fcntl(f, F_SETFL, O_APPEND)); MUST(write(f, "jkl", 3)); MUST(fcntl(f, F_SETFL, 0)); MUST(lseek(f, 0, SEEK_SET)); MUST(write(f, "m", 1))) \
C(rename, MUST(rename("old", "dir/renamed")); MUST(renameat(AT_FDCWD, "old2", AT_FDCWD, "old")); MUST(rename("dir", "tree"))) \
C(renameat2, MUST(renameat2(AT_FDCWD, "old", AT_FDCWD, "old2", RENAME_EXCHANGE)); MUST(renameat2(AT_FDCWD, "old", AT_FDCWD, "new", RENAME_NOREPLACE))) \
C(link, MUST(link("old", "new")); MUST(linkat(AT_FDCWD, "old", AT_FDCWD, "dir/new", 0))) \
C(symlink, MUST(symlink("x", "new")); MUST(symlinkat("y", AT_FDCWD, "dir/new"))) \
C(unlink, MUST(unlink("old")); MUST(unlinkat(AT_FDCWD, "old2", 0)); MUST(unlinkat(AT_FDCWD, "dir", AT_REMOVEDIR))) \
C(remove, MUST(remove("old")); MUST(remove("dir")); MUST(mkdir("dir2", 0700)); MUST(rmdir("dir2"))) \
C(mkdir, MUST(mkdir("new", 0700)); MUST(mkdirat(AT_FDCWD, "dir/new//", 0700)); MUST(rmdir("dir/new/"))) \
C(mknod, MUST(mknod("new", S_IFREG | 0600, 0)); MUST(mknodat(AT_FDCWD, "dir/new", S_IFIFO | 0600, 0)); dev_t d = 0; \
    int (*x)(int, const char *, mode_t, dev_t *) = dlsym(RTLD_DEFAULT, "__xmknod"); if (x) MUST(x(0, "new2", S_IFREG | 0600, &d)); \
    int (*y)(int, int, const char *, mode_t, dev_t *) = dlsym(RTLD_DEFAULT, "__xmknodat"); if (y) MUST(y(0, AT_FDCWD, "new3", S_IFREG | 0600, &d))) \
C(mkfifo, MUST(mkfifo("new", 0600)); MUST(mkfifoat(AT_FDCWD, "dir/new", 0600))) \
C(mkstemp, char a[] = "tXXXXXX", b[] = "dir/tXXXXXX", c[] = "tXXXXXX.c", d[] = "dXXXXXX", e[] = "tXXXXXX", f[] = "eXXXXXX.x"; MUST(write(mkstemp(a), "a", 1)); MUST(write(mkostemp(b, O_CLOEXEC), "b", 1)); MUST(write(mkstemps(c, 2), "c", 1)); MUST_NOT_NULL(mkdtemp(d)); \
    MUST(write(mkstemp64(e), "e", 1)); MUST(write(mkostemps(f, 2, 0), "f", 1)); char g[] = "gXXXXXX", h[] = "hXXXXXX.x", i[] = "iXXXXXX.x"; MUST(write(mkostemp64(g, 0), "g", 1)); MUST(write(mkstemps64(h, 2), "h", 1)); MUST(write(mkostemps64(i, 2, 0), "i", 1))) \
C(attribute_chmod, MUST(chmod("old", 0600)); MUST(fchmod(old_file(), 0640))) \
C(attribute_fchmodat, MUST(fchmodat(AT_FDCWD, "old", 0600, 0))) \
C(attribute_lchmod, lchmod("old", 0600); MUST(chmod("link", 0600))) \
C(attribute_chown, MUST(chown("old", -1, -1)); MUST(fchown(old_file(), -1, -1))) \
C(attribute_lchown, MUST(lchown("old", -1, -1)); MUST(fchownat(AT_FDCWD, "old", -1, -1, 0))) \
C(attribute_fchownat, MUST(fchownat(old_file(), "", -1, -1, AT_EMPTY_PATH))) \
C(attribute_utime, MUST(utime("old", NULL))) \
C(attribute_utimes, MUST(utimes("old", NULL))) \
C(attribute_lutimes, MUST(lutimes("old", NULL))) \
C(attribute_futimes, MUST(futimes(old_file(), NULL))) \
C(attribute_futimesat, MUST(futimesat(AT_FDCWD, "old", NULL))) \
C(attribute_utimensat, MUST(utimensat(AT_FDCWD, "old", NULL, 0))) \
C(attribute_futimens, MUST(futimens(old_file(), NULL))) \
C(attribute_setxattr, MUST(setxattr("old", "user.a", "b", 1, 0))) \
C(attribute_lsetxattr, MUST(lsetxattr("old", "user.a", "b", 1, 0))) \
C(attribute_fsetxattr, MUST(fsetxattr(old_file(), "user.a", "b", 1, 0))) \
C(attribute_removexattr, removexattr("old", "user.none")) \
C(attribute_lremovexattr, lremovexattr("old", "user.none")) \
C(attribute_fremovexattr, fremovexattr(old_file(), "user.none")) \
C(attribute_setflags, int f = old_file(), n; MUST(ioctl(f, FS_IOC_GETFLAGS, &n)); MUST(ioctl(f, FS_IOC_SETFLAGS, &n))) \
C(sync_fsync, MUST(fsync(old_file()))) \
C(sync_fdatasync, MUST(fdatasync(old_file()))) \
C(sync_file_range, MUST(sync_file_range(old_file(), 0, 0, SYNC_FILE_RANGE_WRITE))) \
C(map_mmap, int f = old_file(); char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0); must(m != MAP_FAILED, "mmap"); strcpy(m + 5000, "hello"); MUST(msync(m, 8192, MS_SYNC)); close(f); strcpy(m + 6000, "more"); MUST(munmap(m, 8192))) \
C(map_mmap64, int f = old_file(); char *m = mmap64(NULL, 4096, PROT_READ, MAP_SHARED, f, 4096); must(m != MAP_FAILED, "mmap"); MUST(mprotect(m, 4096, PROT_READ | PROT_WRITE)); strcpy(m + 50, "hello"); m = mremap(m, 4096, 8192, MREMAP_MAYMOVE); must(m != MAP_FAILED, "mremap")) \
C(map_private, int f = old_file(); char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0); strcpy(m, "unseen"); MUST(munmap(m, 8192)); MUST(write(f, "x", 1)); mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0)) \
C(syscall, int f = syscall(SYS_openat, AT_FDCWD, "new", O_RDWR | O_CREAT, 0600); MUST(f); MUST(syscall(SYS_write, f, "hello", 5)); MUST(syscall(SYS_pwrite64, f, "x", 1, 5000)); MUST(syscall(SYS_close, f)); \
    f = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(f, "other", 5)); MUST(syscall(SYS_renameat2, AT_FDCWD, "old", AT_FDCWD, "new3", 0)); MUST(syscall(SYS_mkdirat, AT_FDCWD, "new4", 0700)); \
    MUST(syscall(SYS_unlinkat, AT_FDCWD, "old2", 0)); MUST(syscall(SYS_copy_file_range, open("new", O_RDONLY), NULL, f, NULL, 100, 0)); MUST(syscall(SYS_ftruncate, f, 50000)); MUST(syscall(SYS_pwritev2, f, two, 2, 9000, 0, 0)); MUST(syscall(SYS_fchmod, f, 0640))) \
C(getters, MUST(prctl(PR_GET_DUMPABLE)); MUST(syscall(SYS_getpid)); MUST(write(new_file(), "x", 1))) \
C(unshare, int f = new_file(); MUST(write(f, "x", 1)); MUST(unshare(CLONE_FILES)); MUST(close(f)); f = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(f, "other", 5)); MUST(close(f)); f = open("new3", O_WRONLY | O_CREAT, 0600); MUST(write(f, "third", 5))) \
C(spawn, posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); posix_spawn_file_actions_addopen(&a, 1, "new", O_WRONLY | O_CREAT | O_TRUNC, 0600); pid_t p; char *v[] = {"echo", "hello", NULL}; \
    must(posix_spawnp(&p, "echo", &a, NULL, v, environ) == 0, "spawn"); MUST(waitpid(p, NULL, 0)); posix_spawn_file_actions_destroy(&a)) \
C(fork, int f = new_file(); MUST(write(f, "parent", 6)); if (fork() == 0) { MUST(write(f, "child", 5)); MUST(pwrite(f, "x", 1, 1000)); _exit(0); } wait(NULL); MUST(write(f, "again", 5))) \
C(vfork, int f = old_file(), g = new_file(); MUST(pwrite(f, "parent", 6, 0)); if (vfork() == 0) { dup2(g, f); MUST(write(f, "child", 5)); _exit(0); } wait(NULL); MUST(pwrite(f, "again", 5, 9000))) \
C(vfork_first, if (vfork() == 0) { int f = open("new", O_WRONLY | O_CREAT, 0600); MUST(write(f, "child", 5)); _exit(0); } wait(NULL); int f = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(f, "parent", 6)); kill(getpid(), SIGKILL))

#define C(name, ...) static void case_##name(void) { __VA_ARGS__; }
CASES
#undef C

int main(int count, char **arguments) {
    static const struct { const char *name; void (*run)(void); } all[] = {
#define C(name, ...) {#name, case_##name},
        CASES
#undef C
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        if (count < 2) puts(all[i].name);
        else if (!strcmp(arguments[1], all[i].name)) { all[i].run(); return 0; }
    }
    return count < 2 ? 0 : 2;
}
