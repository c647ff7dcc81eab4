//! What programs live in: switches, coordinators that come and go, threads, signals, cancellation,
//! small stacks, filters, sanitizers. The shim must not be noticed, and must lose nothing.

use std::process::Command;

use harness::artifacts::shim;
use harness::recorder::Snapshot;
use harness::wait_until;

use crate::scene::{Scene, has};

/// A program that writes a byte to `new` for every line that it is sent, and answers each.
const STEPS: &str = "
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    char line[64];
    int f = open(\"new\", O_RDWR | O_CREAT, 0600);
    for (long i = 0; fgets(line, sizeof line, stdin); i++) {
        if (pwrite(f, \"x\", 1, i * 10000) != 1) return 1;
        char name[64];
        sprintf(name, \"name-%ld\", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
        puts(\"done\"); fflush(stdout);
    }
    return 0;
}";

/// [`STEPS`], running.
struct Steps {
    child: std::process::Child,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Steps {
    fn start(scene: &Scene) -> Self {
        let program = scene.compile("steps", STEPS);
        let mut command = scene.command(program);
        let piped = std::process::Stdio::piped;
        let mut child = command
            .stdin(piped())
            .stdout(piped())
            .spawn()
            .expect("run the program");
        let answers = std::io::BufReader::new(child.stdout.take().expect("piped"));
        Self { child, answers }
    }

    fn step(&mut self) {
        use std::io::{BufRead, Write};
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(b"go\n").expect("send a line");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("read a line");
        assert_eq!(answer, "done\n");
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("its end").success());
    }
}

#[test]
fn switched_off_by_the_environment() {
    let scene = Scene::new();
    let mut command = scene.command("sh");
    command
        .args(["-c", "echo x >new"])
        .env("EVERWRITE_OFF", "1");
    harness::run(&mut command).success();
    assert_eq!(scene.recorder.attached(), 0);
}

#[test]
fn switched_off_by_a_file() {
    let scene = Scene::new();
    scene.recorder.set_switch_file(true);
    scene.shell("echo x >new");
    assert_eq!(scene.recorder.attached(), 0);
    scene.recorder.set_switch_file(false);
    scene.check(|scene| scene.shell("echo y >new"));
}

#[test]
fn switched_off_and_on_by_the_page() {
    let scene = Scene::new();
    scene.recorder.set_switch(false);
    let mut steps = Steps::start(&scene);
    steps.step();
    assert_eq!(scene.recorder.attached(), 0);
    scene.recorder.set_switch(true);
    scene.check(|_| {
        steps.step();
        steps.step();
        steps.end();
    });
    assert_eq!(scene.recorder.attached(), 1);
}

#[test]
fn other_devices_are_of_no_interest() {
    let scene = Scene::new();
    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("a directory on another file system");
    let mut command = scene.command("sh");
    command
        .args(["-ec", "mkdir a; echo x >a/b; mv a c; rm -r c"])
        .current_dir(elsewhere.path());
    harness::run(&mut command).success();
    assert_eq!(scene.recorder.attached(), 0);
}

#[test]
fn a_new_epoch_makes_programs_attach_anew() {
    let scene = Scene::new();
    let mut steps = Steps::start(&scene);
    scene.check(|scene| {
        for _ in 0..40 {
            steps.step();
            scene.recorder.next_epoch();
        }
        steps.step();
        steps.end();
    });
    assert_eq!(scene.recorder.attached(), 41);
}

#[test]
fn what_happens_behind_a_closed_door_is_told_later() {
    let mut scene = Scene::new();
    scene.recorder.close_door();
    let before = Snapshot::of(&scene.tree);
    let mut steps = Steps::start(&scene);
    (0..5).for_each(|_| steps.step());
    assert_eq!(scene.recorder.attached(), 0);
    scene.recorder.open_door();
    wait_until("it attaches", || {
        steps.step();
        scene.recorder.attached() == 1
    });
    steps.end();
    let record = scene.recorder.take();
    before.check(&record);
    assert_eq!(record.everything, 0);
}

#[test]
fn a_door_that_opens_before_the_end_is_enough() {
    let mut scene = Scene::new();
    scene.recorder.close_door();
    let before = Snapshot::of(&scene.tree);
    let mut steps = Steps::start(&scene);
    steps.step();
    scene.recorder.open_door();
    steps.end();
    before.check(&scene.recorder.take());
}

#[test]
fn who_is_refused_does_not_ask_again() {
    use everwrite_protocol::local::Refusal;
    let scene = Scene::new();
    scene.recorder.refuse(Some(Refusal::Busy));
    let mut steps = Steps::start(&scene);
    // On a busy machine the answer may come too late to be heard, and then it is asked for again.
    wait_until("it is refused", || {
        steps.step();
        scene.recorder.refused() > 0
    });
    (0..20).for_each(|_| steps.step());
    assert_eq!(scene.recorder.refused(), 1);
    scene.recorder.refuse(None);
    steps.step();
    assert_eq!(scene.recorder.attached(), 0);
    scene.recorder.next_epoch();
    wait_until("it attaches", || {
        steps.step();
        scene.recorder.attached() > 0
    });
    assert_eq!(scene.recorder.attached(), 1);
    steps.end();
}

/// Nobody reads: rings fill up, hulls take over, nothing waits, nothing is lost.
#[test]
fn full_rings_widen() {
    let scene = Scene::new();
    scene.recorder.set_deaf(true);
    let record = scene.check(|scene| {
        scene.shell("for i in {1..800}; do echo $i >file-$i; done; mkdir -p a/b; for i in {1..300}; do echo $i >a/b/$i; done");
        let program = scene.compile("random", RANDOM);
        harness::run(&mut scene.command(program)).success();
    });
    assert!(record.widened > 0, "{record:#?}");
}

const RANDOM: &str = "
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    int f = open(\"random\", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 20000; i++) pwrite(f, \"abcdefgh\", 8, (rand() % 1000) * 4000);
    for (int i = 0; i < 700; i++) { char n[20]; sprintf(n, \"many-%d\", i); int g = open(n, O_CREAT | O_WRONLY, 0600); pwrite(g, \"x\", 1, 5); close(g); }
    return 0;
}";

#[test]
fn many_threads() {
    let scene = Scene::new();
    let program = scene.compile("threads", THREADS);
    let record = scene.check(|scene| {
        harness::run(&mut scene.command(&program)).success();
    });
    assert_eq!(record.everything, 0, "{record:#?}");
}

/// Threads with stacks of 16 KiB write to files of their own and to one of all; a signal comes every 50
/// microseconds and writes, too.
const THREADS: &str = "
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <sys/time.h>
#include <unistd.h>
static int all, signals;
static void on(int s) { write(signals, \"s\", 1); }
static void *work(void *n) {
    char name[32]; snprintf(name, 32, \"own-%ld\", (long)(intptr_t)n);
    int f = open(name, O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 3000; i++) {
        write(f, \"abc\", 3); write(all, \"xy\", 2); pwrite(f, \"z\", 1, i * 97 % 20000);
        if (i % 500 == 0) { close(f); f = open(name, O_RDWR); }
    }
    return 0;
}
int main(void) {
    all = open(\"all\", O_RDWR | O_CREAT, 0600);
    signals = open(\"signals\", O_RDWR | O_CREAT, 0600);
    struct sigaction a = {.sa_handler = on, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &a, 0);
    struct itimerval t = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &t, 0);
    pthread_attr_t attr; pthread_attr_init(&attr);
    if (pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN)) return 1;
    pthread_t p[16];
    for (long i = 0; i < 16; i++) if (pthread_create(&p[i], &attr, work, (void *)i)) return 2;
    for (int i = 0; i < 16; i++) while (pthread_join(p[i], 0)) ;
    t = (struct itimerval){0}; setitimer(ITIMER_REAL, &t, 0);
    return 0;
}";

/// While one thread finds out that somebody listens, the others' first events must wait or be kept.
#[test]
fn first_events_of_many_threads() {
    let scene = Scene::new();
    let program = scene.compile("first", FIRST);
    for _ in 0..100 {
        scene.prepare("rm -f ./*; for i in 0 1 2 3 4 5 6 7; do : >$i; done");
        let before = Snapshot::of(&scene.tree);
        harness::run(&mut scene.command(&program)).success();
        let record = scene.recorder.take();
        if record.in_vain == 0 {
            before.check(&record);
        }
    }
}

const FIRST: &str = "
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>
static pthread_barrier_t all;
static void *work(void *n) {
    char name[] = {'0' + (intptr_t)n, 0};
    int f = open(name, O_RDWR);
    pthread_barrier_wait(&all);
    for (int i = 0; i < 20; i++) pwrite(f, \"x\", 1, i * 9);
    return 0;
}
int main(void) {
    pthread_t t[8]; pthread_barrier_init(&all, 0, 8);
    for (long i = 0; i < 8; i++) if (pthread_create(&t[i], 0, work, (void *)i)) return 1;
    for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
    return 0;
}";

/// A thread that is cancelled in a hooked call runs its cleanup, and its slot stays announced.
#[test]
fn cancelled_threads_unwind() {
    let scene = Scene::new();
    let program = scene.compile("cancel", CANCEL);
    let ended = harness::run(&mut scene.command(&program)).success();
    assert_eq!(
        ended.text(),
        "cleaned write\ncleaned open\ncleaned writev\n"
    );
}

const CANCEL: &str = "
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
static int pipes[2];
static void clean(void *name) { printf(\"cleaned %s\\n\", (char *)name); }
static volatile int thread;
static void *work(void *name) {
    thread = gettid();
    static char block[1 << 20];
    struct iovec v = {block, sizeof block};
    pthread_cleanup_push(clean, name);
    if (!strcmp(name, \"write\")) for (;;) write(pipes[1], block, sizeof block);
    if (!strcmp(name, \"writev\")) for (;;) writev(pipes[1], &v, 1);
    for (;;) close(open(\"fifo\", O_WRONLY | O_CREAT, 0600));
    pthread_cleanup_pop(0);
    return 0;
}
int main(void) {
    const char *names[] = {\"write\", \"open\", \"writev\"};
    if (pipe(pipes) || mkfifo(\"fifo\", 0600)) return 1;
    for (int i = 0; i < 3; i++) {
        pthread_t t; void *result;
        if (pthread_create(&t, 0, work, (void *)names[i])) return 2;
        // Until it waits in the kernel.
        for (char state = 0, path[64]; state != 'S';) {
            while (!thread) ;
            snprintf(path, sizeof path, \"/proc/self/task/%d/stat\", thread);
            FILE *stat = fopen(path, \"r\"); fscanf(stat, \"%*d %*s %c\", &state); fclose(stat);
        }
        thread = 0;
        pthread_cancel(t); pthread_join(t, &result);
        if (result != PTHREAD_CANCELED) return 3;
    }
    return 0;
}";

/// Bad addresses are the kernel's to refuse.
#[test]
fn bad_addresses_are_errors() {
    let scene = Scene::new();
    let program = scene.compile("bad", BAD);
    let ended = harness::run(&mut scene.command(&program));
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), ""));
}

const BAD: &str = "
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <linux/fs.h>
#include <unistd.h>
#define BAD ((void *)8)
#define FAULT(x) do { errno = 0; long r = (x); if (r != -1 || errno != EFAULT) printf(\"%s: %ld %d\\n\", #x, r, errno); } while (0)
#define FAILS(x, e) do { errno = 0; long r = (x); if (r != -1 || errno != e) printf(\"%s: %ld %d\\n\", #x, r, errno); } while (0)
int main(void) {
    int f = open(\"file\", O_RDWR | O_CREAT, 0600), g = open(\"other\", O_RDWR | O_CREAT, 0600);
    write(g, \"text\", 4);
    struct iovec v = {BAD, 10};
    FAULT(write(f, BAD, 10)); FAULT(pwrite(f, BAD, 10, 0)); FAULT(writev(f, BAD, 2)); FAULT(writev(f, &v, 1));
    FAULT(pwritev(f, BAD, 2, 0)); FAULT(open(BAD, O_CREAT, 0600)); FAULT(openat(AT_FDCWD, BAD, O_WRONLY | O_TRUNC));
    FAULT(creat(BAD, 0600)); FAULT(rename(BAD, \"x\")); FAULT(rename(\"file\", BAD)); FAULT(renameat2(AT_FDCWD, BAD, AT_FDCWD, BAD, 0));
    FAULT(link(\"file\", BAD)); FAULT(symlink(\"x\", BAD)); FAULT(unlink(BAD)); FAULT(unlinkat(AT_FDCWD, BAD, 0)); FAULT(rmdir(BAD));
    FAULT(mkdir(BAD, 0700)); FAULT(mknod(BAD, S_IFREG, 0)); FAULT(mkfifo(BAD, 0600)); FAULT(truncate(BAD, 0)); FAULT(chmod(BAD, 0600));
    FAULT(chown(BAD, 0, 0)); FAULT(utimes(BAD, 0)); FAULT(setxattr(BAD, \"user.a\", \"b\", 1, 0)); FAULT(copy_file_range(g, NULL, f, BAD, 5, 0));
    FAULT(ioctl(f, FICLONERANGE, BAD)); FAULT(syscall(SYS_openat2, AT_FDCWD, \"file\", BAD, 24)); FAULT(syscall(SYS_mkdirat, AT_FDCWD, BAD, 0700));
    FAILS(write(-1, \"x\", 1), EBADF); FAILS(write(9999, \"x\", 1), EBADF); FAILS(close(-5), EBADF); FAILS(dup2(f, -1), EBADF);
    FAILS(unlink(\"\"), ENOENT); FAILS(mkdir(\"nowhere/x\", 0700), ENOENT); FAILS(mkdir(\"file/x\", 0700), ENOTDIR); FAILS(rename(\"none\", \"x\"), ENOENT);
    FAILS(rmdir(\".\"), EINVAL); FAILS(unlinkat(-1, \"x\", 0), EBADF); FAILS(pwrite(f, \"x\", 1, -1), EINVAL); FAILS(open(\"file\", O_CREAT | O_EXCL, 0600), EEXIST);
    char *longest = malloc(70000);
    for (int i = 0; i < 69999; i++) longest[i] = i % 2 ? '/' : 'a';
    longest[69999] = 0;
    FAILS(mkdir(longest, 0700), ENAMETOOLONG);
    longest[300] = 0; for (int i = 0; i < 300; i++) longest[i] = 'a';
    FAILS(mkdir(longest, 0700), ENAMETOOLONG);
    errno = 77; write(f, \"x\", 1); pwrite(f, \"x\", 1, 9); close(dup(f)); chmod(\"file\", 0640); if (errno != 77) puts(\"errno\");
    return 0;
}";

/// Under a filter the shim makes no call that the program did not make: the filter here kills for any.
#[test]
fn under_a_filter_nothing_is_called() {
    let scene = Scene::new();
    let program = scene.compile("filtered", FILTERED);
    let ended = harness::run(&mut scene.command(&program));
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(7), ""),
        "{ended:?}"
    );
}

const FILTERED: &str = "
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ALLOW(n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, n, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
int main(int count, char **arguments) {
    int f = open(\"file\", O_RDWR | O_CREAT, 0600), g = open(\"late\", O_RDWR | O_CREAT, 0600);
    write(f, \"before\", 6);
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_write), ALLOW(SYS_pwrite64), ALLOW(SYS_openat), ALLOW(SYS_close), ALLOW(SYS_mkdir), ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
    struct sock_fprog p = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p)) return 1;
    for (int i = 0; i < 100; i++) { if (write(f, \"after\", 5) != 5) return 2; if (pwrite(f, \"x\", 1, i * 1000) != 1) return 3; if (write(g, \"late\", 4) != 4) return 4; }
    int h = open(\"new\", O_RDWR | O_CREAT, 0600);
    if (h < 0 || write(h, \"x\", 1) != 1 || close(h)) return 5;
    mkdir(\"directory\", 0700);
    return 7;
}";

/// A filter that the program was started with is found, and nothing beyond the loader's calls is made.
#[test]
fn under_an_inherited_filter_nothing_is_called() {
    let scene = Scene::new();
    let program = scene.compile("inherit", INHERIT);
    let mut command = scene.command(&program);
    let ended =
        harness::run(command.args(["sh", "-c", "echo text >new; echo more >>new; echo ok"]));
    assert_eq!(
        (ended.code, ended.text().as_str()),
        (Some(0), "ok\n"),
        "{ended:?}"
    );
    assert_eq!(scene.recorder.attached(), 0);
}

/// Kills for the calls that the shim, and not the loader or a shell, makes.
const INHERIT: &str = "
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define DENY(n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, n, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
int main(int count, char **arguments) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        DENY(SYS_socket), DENY(SYS_connect), DENY(SYS_statx), DENY(SYS_madvise), DENY(SYS_futex), DENY(SYS_recvmsg), DENY(SYS_prctl), DENY(SYS_gettid),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog p = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p)) return 1;
    execvp(arguments[1], arguments + 1);
    return 2;
}";

/// No descriptor is left, and limits of the program are its own.
#[test]
fn nothing_is_kept_and_limits_hold() {
    let scene = Scene::new();
    scene.shell("echo x >new; ls -l /proc/$$/fd | grep -v -e pipe -e total -e /dev/ >seen || true; ! grep -q -e everwrite -e segment -e doorbell -e sock seen");
    for limit in ["ulimit -n 4", "ulimit -v 60000", "ulimit -f 8"] {
        let mut command = scene.command("bash");
        command.args([
            "-c",
            &format!("{limit}; echo text >limited; echo more >>limited; echo ok"),
        ]);
        assert_eq!(harness::run(&mut command).text(), "ok\n", "{limit}");
    }
}

/// A library that is not there when the loader looks for `LD_PRELOAD` harms nobody; one that is stays
/// mapped when its file is replaced.
#[test]
fn replaced_while_in_use() {
    let scene = Scene::new();
    let copy = scene.path().join("copy.so");
    std::fs::copy(shim(), &copy).expect("copy the library");
    let mut command = scene.command("sh");
    command.env("LD_PRELOAD", &copy);
    command.args([
        "-ec",
        "cp \"$LD_PRELOAD\" ../new.so; mv ../new.so \"$LD_PRELOAD\"; echo x >new; ls >list",
    ]);
    scene.check(|_| drop(harness::run(&mut command).success()));
}

#[test]
fn other_libraries_before_and_behind() {
    let scene = Scene::new();
    let source = "
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <unistd.h>
        ssize_t write(int f, const void *b, size_t n) {
            static ssize_t (*real)(int, const void *, size_t);
            if (!real) real = dlsym(RTLD_NEXT, \"write\");
            return real(f, b, n);
        }";
    let other = scene.compile_with("other.so", source, &["-shared", "-fPIC"]);
    for order in [
        format!("{}:{}", other.display(), shim().display()),
        format!("{}:{}", shim().display(), other.display()),
    ] {
        scene.prepare("rm -f ./*");
        scene.check(|scene| {
            let mut command = scene.command("bash");
            command
                .env("LD_PRELOAD", &order)
                .args(["-c", "echo text >new; cp new new2"]);
            harness::run(&mut command).success();
        });
    }
}

/// Names that libc has in two versions: an old program goes on getting the old one, a new one the new.
#[test]
#[cfg(target_arch = "x86_64")]
fn old_programs_get_old_versions() {
    let scene = Scene::new();
    let old = "-DVERSION=__asm__(\".symver posix_spawn, posix_spawn@GLIBC_2.2.5\\n.symver posix_spawnp, posix_spawnp@GLIBC_2.2.5\");";
    for (version, expected) in [(old, "0 0\n"), ("-DVERSION=", "8 8\n")] {
        let program = scene.compile_with("versions", VERSIONS, &[version]);
        scene.prepare("rm -f ./*");
        let ended = harness::run(&mut scene.command(&program));
        assert_eq!((ended.code, ended.text().as_str()), (Some(0), expected));
    }
}

/// Up to glibc 2.14 a file without a first line that says by what was run by the shell.
#[cfg(target_arch = "x86_64")]
const VERSIONS: &str = "
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
VERSION
int main(void) {
    char *arguments[] = {\"script\", NULL};
    int f = open(\"script\", O_WRONLY | O_CREAT, 0700);
    if (dprintf(f, \"echo text >new\\n\") < 0 || close(f)) return 1;
    int first = posix_spawn(NULL, \"./script\", NULL, NULL, arguments, environ);
    int second = posix_spawnp(NULL, \"./script\", NULL, NULL, arguments, environ);
    while (wait(NULL) > 0) ;
    printf(\"%d %d\\n\", first, second);
    return 0;
}";

/// `setuid` programs get no environment from whoever starts them.
#[test]
fn raised_rights_ignore_the_environment() {
    if !rustix::process::geteuid().is_root() {
        return harness::skip("raised_rights", "needs root to make a setuid program");
    }
    let scene = Scene::new();
    let source = "#include <fcntl.h>\n#include <unistd.h>\nint main(void){return write(open(\"new\",O_CREAT|O_WRONLY,0600),\"x\",1)!=1;}";
    let program = scene.compile("setuid", source);
    let script = format!(
        "cp {0} setuid; chmod 6755 setuid; chmod 777 .",
        program.display()
    );
    scene.prepare(&script);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--clear-groups", "--", "./setuid"])
        .current_dir(&scene.tree);
    scene.recorder.attach_to(&mut command);
    // The loader itself ignores LD_PRELOAD with a path; the program runs, unheard.
    if has("raised_rights", "setpriv") {
        harness::run(&mut command);
        assert_eq!(scene.recorder.attached(), 0);
    }
}
