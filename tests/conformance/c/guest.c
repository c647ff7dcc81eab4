// What programs do that a library inside them has to live with: `guest NAME`. Without a name it lists the
// cases. What a case prints, and how it ends, must be the same with the shim and without. A case that
// can't be had here ends with 77.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(x) do { if ((x) < 0) { perror(#x); exit(1); } } while (0)

static int new_file(void) { int f = open("new", O_RDWR | O_CREAT, 0644); MUST(f); return f; }
static void limit(int what, rlim_t value) { struct rlimit r = {value, value}; MUST(setrlimit(what, &r)); }
static void small_stack(pthread_attr_t *a) { pthread_attr_init(a); MUST(-pthread_attr_setstacksize(a, PTHREAD_STACK_MIN)); }
static void timer(int microseconds) { struct itimerval t = {{0, microseconds}, {0, microseconds}}; MUST(setitimer(ITIMER_REAL, &t, NULL)); }
static void on(int signal, void (*f)(int), int flags) { struct sigaction a = {.sa_handler = f, .sa_flags = flags}; MUST(sigaction(signal, &a, NULL)); }
static int reap(void) { int n = 0, s; while (wait(&s) > 0) n += s == 0; return n; }

// Threads that are cancelled at any moment while they do what may wait.
static int cleaned;
static FILE *streams[4];
static void clean(void *unused) { __atomic_add_fetch(&cleaned, 1, __ATOMIC_SEQ_CST); }
static void *until_cancelled(void *n) {
    char name[32]; sprintf(name, "new-%ld", (long)(intptr_t)n);
    pthread_cleanup_push(clean, NULL);
    for (;;) {
        int f = open(name, O_RDWR | O_CREAT, 0600);
        write(f, "abc", 3); pwrite(f, "d", 1, 5000); fsync(f); lseek(f, 0, SEEK_END); write(f, "e", 1); close(f);
        FILE *s = streams[(intptr_t)n]; fputs("text", s); fflush(s);
    }
    pthread_cleanup_pop(0);
    return NULL;
}
static void cancel(void) {
    for (int i = 0; i < 4; i++) { char n[32]; sprintf(n, "stream-%d", i); streams[i] = fopen(n, "w"); }
    for (int round = 0; round < 25; round++) {
        pthread_t t[4];
        for (long i = 0; i < 4; i++) MUST(-pthread_create(&t[i], NULL, until_cancelled, (void *)i));
        for (volatile int i = 0; i < round * 4000; i++) ;
        for (int i = 0; i < 4; i++) { pthread_cancel(t[i]); pthread_join(t[i], NULL); }
    }
    printf("%d cleaned\n", cleaned);
}

// A timer so fast that handlers interrupt hooks, and do the same themselves.
static void in_handler(int s) {
    static int n; int kept = errno;
    int f = open("handler", O_RDWR | O_CREAT | O_APPEND, 0600); write(f, "s", 1); close(f);
    char a[32], b[32]; snprintf(a, 32, "h-%d", n % 7); snprintf(b, 32, "h-%d", ++n % 7); rename(a, b);
    errno = kept;
}
static void timer_storm(void) {
    on(SIGALRM, in_handler, SA_RESTART); timer(50);
    mkdir("h-0", 0700);
    FILE *s = fopen("stdio", "w");
    for (int i = 0; i < 3000; i++) {
        char n[32]; sprintf(n, "file-%d", i % 50);
        int f = open(n, O_RDWR | O_CREAT, 0600); MUST(f); MUST(write(f, n, 6)); MUST(pwrite(f, "x", 1, i)); MUST(close(f));
        if (i % 3 == 0) MUST(unlink(n));
        fprintf(s, "%d\n", i); if (i % 100 == 0) fflush(s);
    }
    timer(0); fclose(s); puts("done");
}
// A handler that does not return leaves a hook in the middle.
static sigjmp_buf back;
static void jump(int s) { siglongjmp(back, 1); }
static void jump_storm(void) {
    static volatile int i, f;
    on(SIGALRM, jump, 0); f = new_file(); timer(200);
    for (i = 0; i < 20000; i++) if (!sigsetjmp(back, 1)) { pwrite(f, "abc", 3, i * 10L); write(f, "x", 1); int g = open("other", O_RDWR | O_CREAT, 0600); close(g); }
    timer(0); MUST(write(f, "end", 3)); puts("done");
}
static void on_small_stack(void) {
    static char room[16384]; stack_t s = {.ss_sp = room, .ss_size = sizeof room}; MUST(sigaltstack(&s, NULL));
    on(SIGUSR1, in_handler, SA_ONSTACK); mkdir("h-0", 0700);
    for (int i = 0; i < 100; i++) raise(SIGUSR1);
    puts("done");
}

static void child_writes(int i) { char n[32]; sprintf(n, "child-%d", i % 40); int f = open(n, O_RDWR | O_CREAT, 0600); pwrite(f, n, 8, i); close(f); }
static void fork_storm(void) {
    int f = new_file();
    for (int i = 0; i < 100; i++) {
        MUST(pwrite(f, "p", 1, i));
        pid_t p = fork(); MUST(p);
        if (p == 0) { child_writes(i); MUST(pwrite(f, "c", 1, 10000 + i)); _exit(0); }
        if (i % 4 == 3) while (wait(NULL) > 0) ;
    }
    while (wait(NULL) > 0) ; puts("done");
}
static void *writes(void *n) { int f = open("threads", O_RDWR | O_CREAT, 0600); for (int i = 0; i < 2000; i++) pwrite(f, "t", 1, i * 4 + (intptr_t)n); close(f); return NULL; }
static void fork_among_threads(void) {
    pthread_t t[4]; for (long i = 0; i < 4; i++) MUST(-pthread_create(&t[i], NULL, writes, (void *)i));
    for (int i = 0; i < 60; i++) { pid_t p = fork(); MUST(p); if (p == 0) { child_writes(i); _exit(0); } if (i % 4 == 3) usleep(1); }
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    printf("%d children\n", reap());
}
static void vfork_storm(void) {
    int f = new_file(), g = open("other", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 150; i++) {
        MUST(pwrite(f, "p", 1, i));
        pid_t p = vfork(); MUST(p);
        if (p == 0) { dup2(g, f); pwrite(f, "c", 1, i); if (i % 3 == 0) execl("/bin/sh", "sh", "-c", ":", NULL); _exit(0); }
        MUST(pwrite(f, "q", 1, 5000 + i));
    }
    printf("%d children\n", reap());
}
static void spawn_storm(void) {
    char *v[] = {"sh", "-c", "echo hello", NULL}; int ended = 0;
    for (int i = 0; i < 99; i++) {
        // Two that write to one file at a time would do so in any order.
        if (i % 9 == 0) ended += reap();
        char n[32]; sprintf(n, "spawn-%d", i % 9); pid_t p;
        posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a);
        posix_spawn_file_actions_addopen(&a, 1, n, O_WRONLY | O_CREAT | (i % 2 ? O_TRUNC : O_APPEND), 0600);
        MUST(-posix_spawn(&p, "/bin/sh", &a, NULL, v, environ)); posix_spawn_file_actions_destroy(&a);
    }
    printf("%d children\n", ended + reap());
}

static pthread_barrier_t all_here;
static void *one_byte(void *n) { pthread_barrier_wait(&all_here); int f = open("many", O_RDWR); pwrite(f, "x", 1, (intptr_t)n * 3); close(f); return NULL; }
static void ten_thousand_threads(void) {
    enum { N = 10000 }; static pthread_t t[N]; pthread_attr_t a; small_stack(&a); pthread_attr_setguardsize(&a, 0);
    MUST(close(open("many", O_RDWR | O_CREAT, 0600)));
    struct rlimit r; getrlimit(RLIMIT_NOFILE, &r); r.rlim_cur = r.rlim_max; setrlimit(RLIMIT_NOFILE, &r);
    pthread_barrier_init(&all_here, NULL, N);
    for (long i = 0; i < N; i++) if (pthread_create(&t[i], &a, one_byte, (void *)i)) exit(77);
    for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
    struct stat s; MUST(stat("many", &s)); printf("%ld bytes\n", (long)s.st_size);
}

static void few_descriptors(void) { int f = new_file(); limit(RLIMIT_NOFILE, f + 1); MUST(write(f, "x", 1)); printf("%d %d\n", open("other", O_RDWR | O_CREAT, 0600), errno); MUST(pwrite(f, "y", 1, 10)); MUST(mkdir("dir2", 0700)); }
static void no_memory(void) { limit(RLIMIT_AS, 1 << 20); int f = new_file(); MUST(write(f, "x", 1)); MUST(rename("new", "new2")); MUST(close(f)); write(1, "done\n", 5); }
static void small_files(void) { signal(SIGXFSZ, SIG_IGN); int f = new_file(); limit(RLIMIT_FSIZE, 1000); printf("%ld\n", (long)pwrite(f, "0123456789", 10, 995)); printf("%ld %d\n", (long)pwrite(f, "x", 1, 1000), errno); MUST(write(f, "y", 1)); }
static void killed_for_size(void) { int f = new_file(); limit(RLIMIT_FSIZE, 100); MUST(write(f, "x", 1)); pwrite(f, "x", 1, 1000); puts("not killed"); }
static void no_processes(void) { limit(RLIMIT_NPROC, 0); int f = new_file(); MUST(write(f, "x", 1)); puts("done"); }

static void close_everything(void) {
    int f = new_file(); MUST(write(f, "x", 1)); int out = dup(1);
    for (int i = 3; i < 2000; i++) if (i != out) close(i);
    f = open("new2", O_RDWR | O_CREAT, 0600); MUST(write(f, "y", 1)); closefrom(out + 1);
    f = open("new3", O_RDWR | O_CREAT, 0600); MUST(write(f, "z", 1)); printf("%d\n", f - out);
}
static void dup_over_everything(void) {
    int f = new_file(), g = open("other", O_RDWR | O_CREAT, 0600);
    for (int i = 3; i < 1000; i++) if (i != f && i != g) { if (dup2(i % 2 ? f : g, i) < 0) exit(77); MUST(write(i, "d", 1)); MUST(pwrite(i, "e", 1, 5000 + i)); }
    for (int i = 3; i < 1000; i++) MUST(close(i));
    struct stat s, t; stat("new", &s); stat("other", &t); printf("%ld %ld\n", (long)s.st_size, (long)t.st_size);
}
static void descriptors_are_its_own(void) {
    int f = new_file(); MUST(write(f, "x", 1)); MUST(mkdir("dir2", 0700));
    for (int i = 0; i < 100; i++) if (fcntl(i, F_GETFD) >= 0) printf("%d ", i);
    puts("");
}
static void strict(void) {
    int p[2]; MUST(pipe(p)); int f = new_file(), g = open("late", O_RDWR | O_CREAT, 0600);
    MUST(write(f, "before", 6)); MUST(write(p[1], "x", 1));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
    for (int i = 0; i < 100; i++) { write(f, "after", 5); write(g, "after", 5); write(p[1], "y", 1); }
    write(1, "done\n", 5); syscall(SYS_exit, 3);
}
static void other_rights(void) {
    int f = new_file(); MUST(write(f, "x", 1)); MUST(chmod(".", 0777)); if (setgid(65534) || setuid(65534)) exit(77);
    MUST(write(f, "y", 1)); int g = open("theirs", O_RDWR | O_CREAT, 0600); MUST(g); MUST(write(g, "z", 1)); MUST(rename("theirs", "theirs2")); puts("done");
}
static void no_environment(void) { environ = NULL; int f = new_file(); MUST(write(f, "x", 1)); clearenv(); MUST(mkdir("dir2", 0700)); puts("done"); }
static void stdio_unflushed(void) { FILE *f = fopen("new", "w"); for (int i = 0; i < 3000; i++) fprintf(f, "%d\n", i); if (fork() == 0) exit(0); wait(NULL); puts("done"); quick_exit(4); }

#define CASES C(cancel) C(timer_storm) C(jump_storm) C(on_small_stack) C(fork_storm) C(fork_among_threads) C(vfork_storm) \
    C(spawn_storm) C(ten_thousand_threads) C(few_descriptors) C(no_memory) C(small_files) C(killed_for_size) C(no_processes) \
    C(close_everything) C(dup_over_everything) C(descriptors_are_its_own) C(strict) C(other_rights) C(no_environment) C(stdio_unflushed)

int main(int count, char **arguments) {
    static const struct { const char *name; void (*run)(void); } all[] = {
#define C(name) {#name, name},
        CASES
#undef C
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        if (count < 2) puts(all[i].name);
        else if (!strcmp(arguments[1], all[i].name)) { all[i].run(); return 0; }
    }
    return count < 2 ? 0 : 2;
}
