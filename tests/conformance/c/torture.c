// Writes and makes names until it is killed: `torture MODE THREADS`.
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *mode;

static void *work(void *number) {
    char name[64], other[64];
    intptr_t me = (intptr_t)number;
    snprintf(name, sizeof name, "file-%ld", (long)me);
    int f = open(name, O_RDWR | O_CREAT, 0600);
    unsigned seed = getpid() * 31 + me;
    for (long i = 0;; i++) {
        char block[512];
        memset(block, 'a' + rand_r(&seed) % 26, sizeof block);
        if (!strcmp(mode, "write")) write(f, block, 1 + rand_r(&seed) % sizeof block);
        else if (!strcmp(mode, "pwrite")) pwrite(f, block, 1 + rand_r(&seed) % sizeof block, rand_r(&seed) % (1 << 20));
        else if (!strcmp(mode, "append")) { int g = open(name, O_WRONLY | O_APPEND); write(g, block, 100); write(g, block, 50); close(g); }
        else if (!strcmp(mode, "stdio")) { FILE *s = fopen(name, "r+"); fseek(s, rand_r(&seed) % (1 << 18), SEEK_SET); fwrite(block, 1, sizeof block, s); fclose(s); }
        else if (!strcmp(mode, "names")) {
            snprintf(name, sizeof name, "name-%ld-%ld", (long)me, i % 50); snprintf(other, sizeof other, "other-%ld-%ld", (long)me, i % 7);
            close(open(name, O_CREAT | O_WRONLY, 0600)); if (i % 3 == 0) rename(name, other); if (i % 5 == 0) unlink(other); if (i % 11 == 0) { mkdir("d", 0700); rmdir("d"); }
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    mode = arguments[1];
    int threads = atoi(arguments[2]);
    puts("ready");
    fflush(stdout);
    for (intptr_t i = 1; i < threads; i++) { pthread_t t; pthread_create(&t, NULL, work, (void *)i); }
    work((void *)0);
    return 0;
}
