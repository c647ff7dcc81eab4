// Calls every hooked function once, each in a case of its own: `calls NAME`. Without a name it lists
// the cases. The directory holds `old` (20000 x 'o'), `old2`, `link` to `old`, and an empty `dir`.
// A case that begins with `attribute_` changes attributes of `old`, one with `sync_` asks for its
// durability, one with `map_` maps it. A case that can't be had here ends with 77.
#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
// Older headers bear this order only.
#include <sys/mount.h>
#include <linux/fs.h>
#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
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
#include <linux/aio_abi.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <shadow.h>
#include <sys/socket.h>
#include <sys/un.h>

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
void monstartup(unsigned long, unsigned long);
void _mcleanup(void);
int pivot_root(const char *, const char *);
void __backtrace_symbols_fd(void *const *, int, int);
int __dup2(int, int);
int __fcntl(int, int, ...);
off_t __lseek(int, off_t, int);
int __vdprintf_chk(int, int, const char *, va_list);
int __dprintf_chk(int, int, const char *, ...);

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
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
static int nothing(void) { exit(77); }
// A function that this libc, or libaio, may lack.
static void *optional(const char *library, const char *name) {
    void *loaded = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    if (!loaded || !dlsym(loaded, name)) return nothing;
    return dlsym(RTLD_DEFAULT, name);
}
// The directory stands in the place of `path`, for this process alone.
static void mount_at(const char *directory, const char *path) {
    MUST(mkdir(directory, 0755) < 0 && errno != EEXIST ? -1 : 0);
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount(directory, path, NULL, MS_BIND, NULL)) exit(77);
}
static void make(const char *name) { int f = open(name, O_RDWR | O_CREAT, 0600); MUST(f); MUST(close(f)); }
static int name_socket(const char *name, int ends) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memset(a.sun_path, 'x', sizeof a.sun_path); memcpy(a.sun_path, name, strlen(name) + ends);
    return bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, offsetof(struct sockaddr_un, sun_path) + strlen(name) + ends);
}
static pid_t spawned(int result, pid_t *p) { must(result == 0, "spawn"); MUST(waitpid(*p, NULL, 0)); return *p; }
static char *echo[] = {"sh", "-c", "echo hello", NULL};
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
C(lio_listio, int f = new_file(); struct aiocb a[3] = {}; struct aiocb *l[5] = {&a[0], NULL, &a[1], &a[2]}; for (int i = 0; i < 3; i++) { a[i].aio_fildes = f; a[i].aio_buf = "list"; a[i].aio_nbytes = 4; a[i].aio_offset = i * 9000; a[i].aio_lio_opcode = LIO_WRITE; } \
    MUST(lio_listio(LIO_WAIT, l, 4, NULL)); for (int i = 0; i < 3; i++) a[i].aio_offset += 100; MUST(lio_listio(LIO_NOWAIT, l, 4, NULL)); for (int i = 0; i < 3; i++) { while (aio_error(&a[i]) == EINPROGRESS) ; must(aio_return(&a[i]) == 4, "aio_return"); } \
    struct aiocb64 b = {.aio_fildes = f, .aio_buf = "more", .aio_nbytes = 4, .aio_offset = 50000, .aio_lio_opcode = LIO_WRITE}; struct aiocb64 *m[] = {&b}; MUST(lio_listio64(LIO_WAIT, m, 1, NULL))) \
C(aio_many, int f = new_file(); static struct aiocb a[100]; for (int i = 0; i < 100; i++) { a[i].aio_fildes = f; a[i].aio_buf = "later"; a[i].aio_nbytes = 5; a[i].aio_offset = i * 9000; MUST(aio_write(&a[i])); } \
    for (int i = 0; i < 100; i++) { while (aio_error(&a[i]) == EINPROGRESS) ; must(aio_return(&a[i]) == 5, "aio_return"); }) \
C(io_submit, int f = new_file(); struct iocb b[3] = {}; struct iocb *l[] = {&b[0], &b[1], &b[2]}; struct io_event e[3]; aio_context_t c = 0; MUST(syscall(SYS_io_setup, 8, &c)); for (int i = 0; i < 3; i++) { b[i].aio_fildes = f; b[i].aio_lio_opcode = i == 1 ? IOCB_CMD_PWRITEV : IOCB_CMD_PWRITE; b[i].aio_buf = (long)(i == 1 ? (void *)two : "kernel"); b[i].aio_nbytes = i == 1 ? 2 : 6; b[i].aio_offset = i * 9000; } \
    int (*submit)(aio_context_t, long, struct iocb **) = optional("libaio.so.1", "io_submit"); int (*reap)(aio_context_t, long, long, struct io_event *, struct timespec *) = optional("libaio.so.1", "io_getevents"); \
    must(submit(c, 3, l) == 3, "io_submit"); must(reap(c, 3, 3, e, NULL) == 3, "io_getevents"); must(submit(c, 1, (void *)8) == -EFAULT, "a bad pointer"); b[1].aio_fildes = -1; must(submit(c, 3, l) == 1, "the second is bad"); \
    int (*preap)(aio_context_t, long, long, struct io_event *, struct timespec *, sigset_t *) = optional("libaio.so.1", "io_pgetevents"); must(preap(c, 1, 1, e, NULL, NULL) == 1, "io_pgetevents")) \
C(syscall_io_submit, int f = new_file(); struct iocb b = {.aio_fildes = f, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (long)"kernel", .aio_nbytes = 6, .aio_offset = 7000}; struct iocb *l[] = {&b}; struct io_event e; aio_context_t c = 0; \
    MUST(syscall(SYS_io_setup, 8, &c)); must(syscall(SYS_io_submit, c, 1L, l) == 1, "io_submit"); must(syscall(SYS_io_getevents, c, 1L, 1L, &e, NULL) == 1, "io_getevents"); must(syscall(SYS_io_submit, c, 1L, 8L) == -1 && errno == EFAULT, "a bad pointer")) \
C(users, mount_at("var", "/var/log"); mount_at("run", "/run"); make("var/wtmp"); make("run/utmp"); struct utmpx x = {.ut_type = USER_PROCESS, .ut_line = "tty9"}; struct utmp u = {.ut_type = USER_PROCESS, .ut_line = "tty9"}; logwtmp("a", "b", "c"); login(&u); MUST_NOT_NULL(pututxline(&x)); logout("tty9")) \
C(users_elsewhere, make("new"); struct utmpx x = {.ut_type = USER_PROCESS, .ut_line = "tty9"}; struct utmp u = {.ut_type = USER_PROCESS, .ut_line = "tty8"}; MUST(utmpname("new")); MUST_NOT_NULL(pututline(&u)); MUST(utmpxname("new")); MUST_NOT_NULL(pututxline(&x))) \
C(lckpwdf, mount_at("etc", "/etc"); MUST(lckpwdf()); MUST(ulckpwdf())) \
C(sethostid, mount_at("etc", "/etc"); MUST(sethostid(0x12345678)); MUST(sethostid(0x5abcdef0))) \
C(profile, static char text[4096]; monstartup((long)text, (long)text + sizeof text); _mcleanup(); monstartup((long)text, (long)text + sizeof text / 2); _mcleanup()) \
C(accounts, struct utmpx x = {.ut_type = USER_PROCESS}; struct utmp u = {.ut_type = USER_PROCESS}; MUST(close(new_file())); updwtmp("new", &u); updwtmpx("new", &x)) \
C(psiginfo, to_stderr(); siginfo_t s = {.si_signo = SIGINT}; psiginfo(&s, "text"); psignal(SIGINT, "text")) \
C(herror, to_stderr(); h_errno = HOST_NOT_FOUND; herror("text"); errno = ENOENT; perror("text")) \
C(backtrace_symbols_fd, int f = new_file(); void *a[] = {(void *)8}; backtrace_symbols_fd(a, 1, f); __backtrace_symbols_fd(a, 1, f)) \
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
C(openat2, int (*x)(int, const char *, void *, size_t) = dlsym(RTLD_DEFAULT, "openat2"); long how[3] = {O_WRONLY | O_CREAT, 0600}; int f = x ? x(AT_FDCWD, "new", how, sizeof how) : -1; if (f < 0) f = syscall(SYS_openat2, AT_FDCWD, "new", how, sizeof how); MUST(write(f, "x", 1))) \
C(open_by_handle_at, static struct { struct file_handle h; char room[128]; } h = {{128}}; int m, d = open(".", O_RDONLY); if (name_to_handle_at(AT_FDCWD, "old", &h.h, &m, 0)) exit(77); int f = open_by_handle_at(d, &h.h, O_RDWR); if (f < 0) exit(77); MUST(pwrite(f, "handle", 6, 5000)); \
    int g = syscall(SYS_open_by_handle_at, d, &h, O_WRONLY); MUST(g); MUST(write(g, "more", 4))) \
C(creat, MUST(creat("new", 0600)); MUST(creat64("old", 0600))) \
C(close, int f = new_file(); MUST(write(f, "x", 1)); MUST(close(f)); int g = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(g, "other", 5))) \
C(close_range, int f = new_file(); MUST(write(f, "x", 1)); int (*x)(unsigned, unsigned, int) = optional("libc.so.6", "close_range"); MUST(x(f, f, 0)); int g = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(g, "other", 5))) \
C(close_range_unshare, int f = new_file(); MUST(write(f, "x", 1)); int (*x)(unsigned, unsigned, int) = optional("libc.so.6", "close_range"); MUST(x(f, f, 2)); int g = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(g, "other", 5)); MUST(pwrite(g, "more", 4, 100))) \
C(closefrom, void (*x)(int) = optional("libc.so.6", "closefrom"); int f = new_file(); MUST(write(f, "x", 1)); x(f); int g = open("new2", O_WRONLY | O_CREAT, 0600); must(f == g, "the same number"); MUST(write(g, "other", 5))) \
C(dup, int f = new_file(), g = dup(f), h = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(f, "abc", 3)); MUST(write(g, "def", 3)); MUST(write(f, "ghi", 3)); MUST(write(h, "x", 1)); MUST(dup2(f, h)); MUST(write(h, "jkl", 3)); \
    MUST(dup3(g, h, O_CLOEXEC)); MUST(write(h, "mno", 3)); MUST(__dup2(f, 77)); MUST(write(77, "pqr", 3))) \
C(high_descriptor, int f = new_file(); if (dup2(f, 900) < 0) exit(0); MUST(write(900, "abc", 3)); int g = open("new2", O_WRONLY | O_CREAT, 0600); if (dup2(g, 1500) >= 0) { MUST(write(1500, "high", 4)); MUST(pwrite(1500, "er", 2, 50)); MUST(dup2(f, 1500)); MUST(write(1500, "x", 1)); }) \
C(fcntl, int f = new_file(), g = fcntl(f, F_DUPFD, 50), h = fcntl64(f, F_DUPFD_CLOEXEC, 60); MUST(write(f, "abc", 3)); MUST(write(g, "def", 3)); MUST(write(h, "ghi", 3)); MUST(__fcntl(f, F_SETFL, O_APPEND)); MUST(write(f, "jkl", 3)); MUST(fcntl(f, F_SETFL, 0)); MUST(lseek(f, 0, SEEK_SET)); MUST(write(f, "m", 1))) \
C(closedir, DIR *d = opendir("dir"); MUST_NOT_NULL(d); int n = dirfd(d); fsync(n); MUST(closedir(d)); must(closedir(NULL) < 0 && errno == EINVAL, "no directory"); int f = new_file(); must(f == n, "the same number"); MUST(write(f, "x", 1))) \
C(login_tty, int f = new_file(); if (fork() == 0) { int m = posix_openpt(O_RDWR | O_NOCTTY); MUST(grantpt(m)); MUST(unlockpt(m)); int s = open(ptsname(m), O_RDWR | O_NOCTTY); MUST(s); MUST(dup2(f, 1)); MUST(write(1, "x", 1)); MUST(login_tty(s)); MUST(write(1, "terminal", 8)); MUST(close(1)); MUST(open("new2", O_WRONLY | O_CREAT, 0600)); MUST(write(1, "y", 1)); _exit(0); } int s; wait(&s); must(s == 0, "child")) \
C(bind, MUST(name_socket("new", 1)); MUST(name_socket("dir/new", 0)); must(name_socket("old", 1) < 0 && errno == EADDRINUSE, "in use"); MUST(name_socket("", 0)); must(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)8, 50) < 0 && errno == EFAULT, "a bad address"); struct sockaddr_in i = {.sin_family = AF_INET}; MUST(bind(socket(AF_INET, SOCK_DGRAM, 0), (void *)&i, sizeof i))) \
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
C(sync_syncfs, MUST(syncfs(old_file()))) \
C(sync_all, MUST(fsync(old_file())); sync()) \
C(sync_aio, struct aiocb a = {.aio_fildes = old_file()}; MUST(aio_fsync(O_SYNC, &a)); while (aio_error(&a) == EINPROGRESS) ; struct aiocb64 b = {.aio_fildes = a.aio_fildes}; MUST(aio_fsync64(O_DSYNC, &b)); while (aio_error64(&b) == EINPROGRESS) ;) \
C(map_mmap, int f = old_file(); char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0); must(m != MAP_FAILED, "mmap"); strcpy(m + 5000, "hello"); MUST(msync(m, 8192, MS_SYNC)); close(f); strcpy(m + 6000, "more"); MUST(munmap(m, 8192))) \
C(map_mmap64, int f = old_file(); char *m = mmap64(NULL, 4096, PROT_READ, MAP_SHARED, f, 4096); must(m != MAP_FAILED, "mmap"); MUST(mprotect(m, 4096, PROT_READ | PROT_WRITE)); strcpy(m + 50, "hello"); m = mremap(m, 4096, 8192, MREMAP_MAYMOVE); must(m != MAP_FAILED, "mremap")) \
C(map_pkey, int f = old_file(); char *m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, f, 4096); must(m != MAP_FAILED, "mmap"); MUST(pkey_mprotect(m, 4096, PROT_READ | PROT_WRITE, -1)); strcpy(m + 50, "hello")) \
C(map_private, int f = old_file(); char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0); strcpy(m, "unseen"); MUST(munmap(m, 8192)); MUST(write(f, "x", 1)); mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0)) \
C(syscall, int f = syscall(SYS_openat, AT_FDCWD, "new", O_RDWR | O_CREAT, 0600); MUST(f); MUST(syscall(SYS_write, f, "hello", 5)); MUST(syscall(SYS_pwrite64, f, "x", 1, 5000)); MUST(syscall(SYS_close, f)); \
    f = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(f, "other", 5)); MUST(syscall(SYS_renameat2, AT_FDCWD, "old", AT_FDCWD, "new3", 0)); MUST(syscall(SYS_mkdirat, AT_FDCWD, "new4", 0700)); \
    MUST(syscall(SYS_unlinkat, AT_FDCWD, "old2", 0)); MUST(syscall(SYS_copy_file_range, open("new", O_RDONLY), NULL, f, NULL, 100, 0)); MUST(syscall(SYS_ftruncate, f, 50000)); MUST(syscall(SYS_pwritev2, f, two, 2, 9000, 0, 0)); MUST(syscall(SYS_fchmod, f, 0640))) \
C(getters, MUST(prctl(PR_GET_DUMPABLE)); MUST(syscall(SYS_getpid)); MUST(write(new_file(), "x", 1))) \
C(unshare, int f = new_file(); MUST(write(f, "x", 1)); MUST(unshare(CLONE_FILES)); MUST(close(f)); f = open("new2", O_WRONLY | O_CREAT, 0600); MUST(write(f, "other", 5)); MUST(close(f)); f = open("new3", O_WRONLY | O_CREAT, 0600); MUST(write(f, "third", 5))) \
C(spawn, posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); posix_spawn_file_actions_addopen(&a, 1, "new", O_WRONLY | O_CREAT | O_TRUNC, 0600); pid_t p; char *v[] = {"echo", "hello", NULL}; \
    must(posix_spawnp(&p, "echo", &a, NULL, v, environ) == 0, "spawn"); MUST(waitpid(p, NULL, 0)); posix_spawn_file_actions_destroy(&a)) \
C(spawn_now, posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); posix_spawn_file_actions_addopen(&a, 1, "late/new", O_WRONLY | O_CREAT, 0600); pid_t p; MUST(mkdir("late", 0700)); spawned(posix_spawn(&p, "/bin/sh", &a, NULL, echo, environ), &p)) \
C(spawn_elsewhere, posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); MUST(posix_spawn_file_actions_addchdir_np(&a, "dir")); posix_spawn_file_actions_addopen(&a, 1, "new", O_WRONLY | O_CREAT, 0600); posix_spawn_file_actions_addopen(&a, 2, "/dev/null", O_WRONLY | O_CREAT, 0600); pid_t p; spawned(posix_spawnp(&p, "sh", &a, NULL, echo, environ), &p); posix_spawn_file_actions_destroy(&a)) \
C(spawn_elsewhere_by_descriptor, posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); MUST(posix_spawn_file_actions_addfchdir_np(&a, open("dir", O_RDONLY))); posix_spawn_file_actions_addopen(&a, 1, "new", O_WRONLY | O_CREAT, 0600); pid_t p; spawned(posix_spawnp(&p, "sh", &a, NULL, echo, environ), &p); posix_spawn_file_actions_destroy(&a)) \
C(spawn_from_elsewhere, posix_spawn_file_actions_t a, b; posix_spawn_file_actions_init(&a); posix_spawn_file_actions_init(&b); posix_spawn_file_actions_addopen(&a, 1, "new", O_WRONLY | O_CREAT, 0600); int f = open(".", O_RDONLY); pid_t p; MUST(chdir("dir")); spawned(posix_spawnp(&p, "sh", &a, NULL, echo, environ), &p); \
    MUST(chdir("/")); posix_spawn_file_actions_addopen(&b, 1, "new2", O_WRONLY | O_CREAT, 0600); MUST(fchdir(f)); spawned(posix_spawnp(&p, "sh", &b, NULL, echo, environ), &p)) \
C(spawn_many, pid_t p; for (int i = 0; i < 3; i++) { posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); char n[20]; for (int k = 0; k < 12; k++) { sprintf(n, "new-%d-%d", i, k); posix_spawn_file_actions_addopen(&a, k + 3, n, O_WRONLY | O_CREAT, 0600); } spawned(posix_spawnp(&p, "sh", &a, NULL, echo, environ), &p); if (i) posix_spawn_file_actions_destroy(&a); }) \
C(spawn_pidfd, int (*x)(int *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]) = optional("libc.so.6", "pidfd_spawn"), (*y)() = optional("libc.so.6", "pidfd_spawnp"); posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); posix_spawn_file_actions_addopen(&a, 1, "new", O_WRONLY | O_CREAT, 0600); int p; must(x(&p, "/bin/sh", &a, NULL, echo, environ) == 0, "spawn"); wait(NULL); must(y(&p, "sh", &a, NULL, echo, environ) == 0, "spawn"); wait(NULL)) \
C(chroot, if (chroot(".")) exit(77); int f = new_file(); MUST(write(f, "inside", 6)); MUST(mkdir("/new2", 0700))) \
C(pivot_root, MUST(write(new_file(), "x", 1)); must(pivot_root("old", "nowhere") < 0, "no root")) \
C(setns, int n = open("/proc/self/ns/uts", O_RDONLY); MUST(n); if (setns(n, 0)) exit(77); MUST(write(new_file(), "x", 1))) \
C(ring, static char room[256]; int f = new_file(), r = syscall(SYS_io_uring_setup, 1, room); if (r < 0) exit(77); MUST(close(r)); MUST(write(f, "x", 1))) \
C(ring_of_library, static char room[4096]; int f = new_file(), (*x)(unsigned, void *, unsigned) = optional("liburing.so.2", "io_uring_queue_init"); if (x(1, room, 0) < 0) exit(77); MUST(write(f, "x", 1))) \
C(ring_of_parameters, static char room[4096], parameters[256]; int f = new_file(), (*x)(unsigned, void *, void *) = optional("liburing.so.2", "io_uring_queue_init_params"); if (x(1, room, parameters) < 0) exit(77); MUST(write(f, "x", 1))) \
C(ring_in_memory, static char room[4096], parameters[256], memory[65536] __attribute__((aligned(4096))); int f = new_file(), (*x)(unsigned, void *, void *, void *, size_t) = optional("liburing.so.2", "io_uring_queue_init_mem"); if (x(1, room, parameters, memory, sizeof memory) < 0) exit(77); MUST(write(f, "x", 1))) \
C(ring_by_library, static char parameters[256]; int f = new_file(), (*x)(unsigned, void *) = optional("liburing.so.2", "io_uring_setup"), r = x(1, parameters); if (r < 0) exit(77); MUST(close(r)); MUST(write(f, "x", 1))) \
C(filter_asked_about, int answer = SECCOMP_RET_ALLOW; MUST(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &answer)); MUST(write(new_file(), "x", 1)); MUST(mkdir("new2", 0700))) \
C(filter_refused, must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) < 0, "no filter"); must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 8) < 0, "a bad pointer"); must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL) < 0, "no filter"); MUST(write(new_file(), "x", 1)); MUST(mkdir("new2", 0700))) \
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
