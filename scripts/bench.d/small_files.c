/* small_files DIR COUNT: so many files of 4 to 56 KiB of random bytes, a hundred to a directory. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    static unsigned char bytes[56 * 1024];
    char path[4096];
    long count = atol(argv[2]);
    for (long i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%ld", argv[1], i / 100);
        if (i % 100 == 0 && mkdir(path, 0755)) { perror(path); return 1; }
        snprintf(path, sizeof path, "%s/%ld/%ld", argv[1], i / 100, i);
        size_t size = 4096 + random() % (sizeof bytes - 4096);
        for (size_t j = 0; j < size; j += sizeof(int)) *(int *)(bytes + j) = random() * 31 + i;
        FILE *file = fopen(path, "w");
        if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) { perror(path); return 1; }
    }
    return 0;
}
