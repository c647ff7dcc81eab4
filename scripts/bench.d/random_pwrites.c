/* random_pwrites FILE COUNT SIZE: so many pwrites of random bytes at random multiples of SIZE. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int file = open(argv[1], O_WRONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status)) { perror(argv[1]); return 1; }
    long count = atol(argv[2]), size = atol(argv[3]);
    unsigned char *block = malloc(size);
    srandom(getpid());
    for (long i = 0; i < count; i++) {
        for (long j = 0; j < size; j++) block[j] = random();
        off_t offset = ((off_t)random() * 4096 + random()) % (status.st_size / size) * size;
        if (pwrite(file, block, size, offset) != size) { perror("pwrite"); return 1; }
    }
    return 0;
}
