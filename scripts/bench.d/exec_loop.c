/* exec_loop COUNT: starts /bin/true so many times, one after the other; prints microseconds a start. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *arguments[] = {"true", NULL};
    long count = atol(argv[1]);
    double start = now();
    for (long i = 0; i < count; i++) {
        pid_t child;
        if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ)) return 1;
        waitpid(child, NULL, 0);
    }
    printf("%.1f\n", (now() - start) / count);
    return 0;
}
