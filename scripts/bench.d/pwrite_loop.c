/* pwrite_loop FILE COUNT: so many 4 KiB pwrites all over the file; prints nanoseconds a call. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    static char block[4096];
    int file = open(argv[1], O_WRONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status)) { perror(argv[1]); return 1; }
    long count = atol(argv[2]), blocks = status.st_size / sizeof block;
    memset(block, getpid(), sizeof block);
    double start = now();
    for (long i = 0; i < count; i++) {
        if (pwrite(file, block, sizeof block, i * 7919 % blocks * sizeof block) != sizeof block) {
            perror("pwrite");
            return 1;
        }
    }
    printf("%.1f\n", (now() - start) / count);
    return 0;
}
