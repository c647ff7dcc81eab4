/* Changes files in every way that the system has, without a shim: linked statically.
 *
 *   writer changes            each file in the current directory by the call that it is named after
 *   writer map FILE           maps it, stores, says so, waits for a line, stores again where it had stored;
 *                             never flushes
 *   writer hold FILE          opens it, says so, waits for a line, then writes
 *   writer append FILE COUNT  from threads and processes that share one descriptor
 *   writer store FILE SECONDS stores and writes at random, from two threads
 *   writer mix FILE SECONDS   writes in all ways that calls tell of, from threads and processes that share positions
 *   writer ring FILE defer|skip
 *                             through an io_uring: completed when it is asked, or completing without a word
 *   writer sparse FILE COUNT  4 KiB here and there
 *   writer sync FILE COUNT    asks for it to be on the disk, by fsync and fdatasync in turns, and changes nothing
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void check(long result, const char *call)
{
	if (result < 0)
		perror(call), exit(1);
}
#define CHECK(call) check(call, #call)

/* What this file system can't do is left undone. */
static void try(long result, const char *call)
{
	if (result < 0)
		perror(call);
}
#define TRY(call) try(call, #call)

static int open_for(const char *name, int flags)
{
	int file = open(name, flags, 0644);
	CHECK(file);
	return file;
}

static void contents(void)
{
	struct iovec two[2] = { { "one", 3 }, { "two", 3 } };
	loff_t from = 100, to = 5000;
	off_t at = 10;
	int file, other = open_for("source", O_RDONLY), ends[2];
	file = open_for("write", O_RDWR), CHECK(write(file, "written", 7)), close(file);
	file = open_for("pwrite", O_RDWR), CHECK(pwrite(file, "pwritten", 8, 9000)), close(file);
	file = open_for("append", O_RDWR | O_APPEND), CHECK(write(file, "appended", 8)), close(file);
	file = open_for("writev", O_RDWR), CHECK(writev(file, two, 2)), close(file);
	file = open_for("pwritev", O_RDWR), CHECK(pwritev(file, two, 2, 7000)), close(file);
	file = open_for("copy_file_range", O_RDWR), CHECK(copy_file_range(other, &from, file, &to, 3000, 0)), close(file);
	file = open_for("sendfile", O_RDWR), CHECK(sendfile(file, other, &at, 4000)), close(file);
	file = open_for("splice", O_RDWR), CHECK(pipe(ends)), CHECK(write(ends[1], "spliced", 7));
	CHECK(splice(ends[0], NULL, file, &to, 7, 0)), close(file);
	file = open_for("ftruncate", O_RDWR), CHECK(ftruncate(file, 1234)), close(file);
	CHECK(truncate("truncate", 100000));
	/* Nothing is written: the file ends where a page does. */
	CHECK(truncate("longer", 100000));
	file = open_for("direct", O_RDWR | O_DIRECT);
	void *page = aligned_alloc(4096, 4096);
	memset(page, 'D', 4096), TRY(pwrite(file, page, 4096, 8192)), close(file);
#ifdef __x86_64__
	/* The 32-bit door: write(2), with its buffer below 4 GiB. */
	file = open_for("door32", O_RDWR);
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	strcpy(low, "through the other door");
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(4), "b"(file), "c"(low), "d"(22) : "memory");
	close(file);
#endif
}

static void spaces(void)
{
	int file;
	file = open_for("punch", O_RDWR), TRY(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192)), close(file);
	file = open_for("zero", O_RDWR), TRY(fallocate(file, FALLOC_FL_ZERO_RANGE, 100, 5000)), close(file);
	file = open_for("collapse", O_RDWR), TRY(fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096)), close(file);
	file = open_for("insert", O_RDWR), TRY(fallocate(file, FALLOC_FL_INSERT_RANGE, 4096, 4096)), close(file);
	file = open_for("allocate", O_RDWR), TRY(fallocate(file, 0, 0, 200000)), close(file);
}

static void names(void)
{
	struct timespec times[2] = { { 1000000000, 1 }, { 1000000000, 123456789 } };
	CHECK(rename("rename", "renamed"));
	CHECK(syscall(SYS_renameat2, AT_FDCWD, "exchange-1", AT_FDCWD, "exchange-2", 2 /* RENAME_EXCHANGE */));
	CHECK(rename("replacement", "replaced"));
	CHECK(rename("tree", "tree-renamed"));
	CHECK(link("link", "link-2"));
	CHECK(symlink("link", "symlink"));
	CHECK(unlink("unlink"));
	CHECK(mkdir("mkdir", 0750)), CHECK(mkdir("mkdir/below", 0700));
	int file = open_for("mkdir/below/new", O_CREAT | O_WRONLY);
	CHECK(write(file, "new", 3)), close(file);
	CHECK(rmdir("rmdir"));
	CHECK(mknod("fifo", S_IFIFO | 0600, 0));
	CHECK(chmod("chmod", 0600));
	CHECK(utimensat(AT_FDCWD, "utimensat", times, 0));
	TRY(setxattr("setxattr", "user.test", "value", 5, 0));
	CHECK(chmod(".", 0711));
}

static void wait_for_a_line(const char *said)
{
	puts(said), fflush(stdout);
	getchar();
}

static void map(const char *name)
{
	struct stat stat;
	int file = open_for(name, O_RDWR);
	CHECK(fstat(file, &stat));
	char *bytes = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	memcpy(bytes + 5000, "stored once", 11);
	wait_for_a_line("stored");
	memcpy(bytes + 5000, "stored twice", 12);
	memcpy(bytes + stat.st_size - 10, "at the end", 10);
	wait_for_a_line("stored again");
}

static void hold(const char *name)
{
	int file = open_for(name, O_RDWR);
	wait_for_a_line("open");
	CHECK(pwrite(file, "by one who was there before", 27, 3000));
	wait_for_a_line("written");
}

struct share {
	int file, count, number;
};

static void *append(void *argument)
{
	struct share *share = argument;
	for (int i = 0; i < share->count; i++) {
		char line[64];
		CHECK(write(share->file, line, sprintf(line, "%d: line %d\n", share->number, i)));
	}
	return NULL;
}

static void append_from_many(const char *name, int count)
{
	int file = open_for(name, O_RDWR | O_APPEND);
	for (int child = 0; child < 2; child++) {
		if (fork())
			continue;
		pthread_t threads[2];
		struct share shares[2];
		for (int i = 0; i < 2; i++) {
			shares[i] = (struct share){ file, count, child * 2 + i };
			pthread_create(&threads[i], NULL, append, &shares[i]);
		}
		for (int i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		exit(0);
	}
	while (wait(NULL) > 0) {}
}

static const char *stored_name;
static time_t stored_until;

static void *store(void *argument)
{
	unsigned seed = (unsigned long)argument;
	struct stat stat;
	int file = open_for(stored_name, O_RDWR);
	CHECK(fstat(file, &stat));
	char *bytes = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	while (time(NULL) < stored_until) {
		long at = rand_r(&seed) % (stat.st_size - 8);
		if (rand_r(&seed) % 4)
			bytes[at]++;
		else
			CHECK(pwrite(file, "written", 7, at));
		if (rand_r(&seed) % 64 == 0)
			usleep(500);
	}
	return NULL;
}

static void store_at_random(const char *name, int seconds)
{
	pthread_t threads[2];
	stored_name = name, stored_until = time(NULL) + seconds;
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, store, (void *)(i + 1));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	wait_for_a_line("done");
}

static int mix_shared, mix_source;

static void mix_one(int own, int end, unsigned *seed)
{
	char bytes[8192];
	long at = rand_r(seed) % 1000000, length = 1 + rand_r(seed) % sizeof bytes;
	struct iovec two[2] = { { bytes, length / 2 }, { bytes, length - length / 2 } };
	loff_t from = 0;
	memset(bytes, 'a' + rand_r(seed) % 26, sizeof bytes);
	switch (rand_r(seed) % 12) {
	case 0: CHECK(pwrite(own, bytes, length, at)); break;
	case 1: CHECK(lseek(mix_shared, at, SEEK_SET)); /* fall through */
	case 2: CHECK(write(mix_shared, bytes, length)); break;
	case 3: CHECK(lseek(own, at, SEEK_SET)), CHECK(writev(own, two, 2)); break;
	case 4: CHECK(pwritev2(own, two, 2, -1, 0)); break;
	case 5: CHECK(write(end, bytes, length)); break;
	case 6: CHECK(pwrite(end, bytes, length, at)); break;
	case 7: CHECK(ftruncate(own, 500000 + rand_r(seed) % 1000000)); break;
	case 8: CHECK(copy_file_range(mix_source, &from, own, NULL, length, 0)); break;
	case 9: CHECK(sendfile(own, mix_source, &from, length)); break;
	case 10: CHECK(lseek(own, rand_r(seed) % 1000000, SEEK_SET)); break;
	case 11: TRY(fallocate(own, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length)); break;
	}
}

static void *mix(void *argument)
{
	unsigned seed = (unsigned long)argument;
	int own = open_for(stored_name, O_RDWR), end = open_for(stored_name, O_WRONLY | O_APPEND);
	while (time(NULL) < stored_until) {
		mix_one(own, end, &seed);
		if (rand_r(&seed) % 16 == 0)
			usleep(300);
	}
	close(own), close(end);
	return NULL;
}

static void mix_from_many(const char *name, int seconds)
{
	pthread_t threads[2];
	stored_name = name, stored_until = time(NULL) + seconds;
	mix_shared = open_for(name, O_RDWR), mix_source = open_for("source", O_RDONLY);
	int child = fork();
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, mix, (void *)(i + 1 + 10L * !child));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	if (!child)
		exit(0);
	wait(NULL);
}

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#ifndef IOSQE_CQE_SKIP_SUCCESS
#define IOSQE_CQE_SKIP_SUCCESS (1U << 6)
#endif

/* Writes 4 KiB here and there, and waits for a request after all of them. */
static void ring(const char *name, int defer)
{
	static char page[4096];
	struct io_uring_params set = { .flags = defer ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN : 0 };
	int file = open_for(name, O_RDWR), ring = syscall(SYS_io_uring_setup, 64, &set);
	if (ring < 0)
		perror("io_uring_setup"), exit(3);
	char *sq = mmap(NULL, set.sq_off.array + set.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	struct io_uring_sqe *entries = mmap(NULL, set.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	unsigned *tail = (unsigned *)(sq + set.sq_off.tail), *array = (unsigned *)(sq + set.sq_off.array);
	memset(page, 'r', sizeof page), memset(entries, 0, set.sq_entries * sizeof *entries);
	for (int i = 0; i < 32; i++) {
		entries[i].opcode = i < 31 ? IORING_OP_WRITE : IORING_OP_NOP;
		entries[i].flags = i == 31 ? IOSQE_IO_DRAIN : defer ? 0 : IOSQE_CQE_SKIP_SUCCESS;
		entries[i].fd = file, entries[i].addr = (unsigned long)page, entries[i].len = i < 31 ? sizeof page : 0;
		entries[i].off = i * 12289, array[i] = i;
	}
	__atomic_store_n(tail, *tail + 32, __ATOMIC_RELEASE);
	CHECK(syscall(SYS_io_uring_enter, ring, 32, defer ? 32 : 1, IORING_ENTER_GETEVENTS, NULL, 0));
}

static void sparse(const char *name, int count)
{
	char page[4096];
	int file = open_for(name, O_RDWR);
	memset(page, 'p', sizeof page);
	for (int i = 0; i < count; i++)
		CHECK(pwrite(file, page, sizeof page, i * 1000003L % (20 << 20)));
}

static void sync_often(const char *name, int count)
{
	int file = open_for(name, O_RDWR);
	for (int i = 0; i < count; i++)
		CHECK(i % 2 ? fdatasync(file) : fsync(file));
}

int main(int count, char **arguments)
{
	const char *what = count > 1 ? arguments[1] : "";
	if (!strcmp(what, "changes"))
		contents(), spaces(), names();
	else if (!strcmp(what, "map"))
		map(arguments[2]);
	else if (!strcmp(what, "hold"))
		hold(arguments[2]);
	else if (!strcmp(what, "append"))
		append_from_many(arguments[2], atoi(arguments[3]));
	else if (!strcmp(what, "store"))
		store_at_random(arguments[2], atoi(arguments[3]));
	else if (!strcmp(what, "mix"))
		mix_from_many(arguments[2], atoi(arguments[3]));
	else if (!strcmp(what, "ring"))
		ring(arguments[2], !strcmp(arguments[3], "defer"));
	else if (!strcmp(what, "sparse"))
		sparse(arguments[2], atoi(arguments[3]));
	else if (!strcmp(what, "sync"))
		sync_often(arguments[2], atoi(arguments[3]));
	else
		return 2;
	return 0;
}
