/* What the witness tells user space. `coordinatord/src/witness/event.rs` reads it. */
#pragma once

enum kind {
	/* Bytes offset .. offset + length were written. */
	WRITTEN = 1,
	/* Pages offset .. offset + length were clean and are being stored into through a mapping. */
	STORED = 2,
	/* The first use of a file since somebody mapped it, so that it may store into it: no telling where. */
	TOUCHED = 3,
	/* Content changed, no telling where. */
	SOMEWHERE = 4,
	/* Size, times or attributes changed. */
	ATTRIBUTES = 5,
	/* Bytes were appended. */
	APPENDED = 6,
	/* No file: the process changes files in ways that are not told. */
	UNTOLD = 7,
	/* Somebody asks for what was written to be on the disk, and waits for it. */
	SYNCED = 8,
};

enum flags {
	/* Somebody has the file mapped shared and may store into it. */
	MAPPED = 1,
	/* Told before it happens, and it may take a while. */
	PENDING = 2,
	/* Told at the end of a system call: other ways to change the file may exist. */
	BY_CALL = 4,
};

struct event {
	u64 inode;
	u64 offset;
	/* ~0: to the end. */
	u64 length;
	/* Nanoseconds from boot to the start of the process. */
	u64 started;
	/* The number under which user space registered the root. */
	u32 root;
	u32 process;
	/* Effective user. */
	u32 user;
	u16 kind;
	u16 flags;
	char program[16];
	/* Nanoseconds of CLOCK_MONOTONIC. */
	u64 at;
	/* btrfs: the subvolume, whose inode numbers are its own. 0 elsewhere. */
	u64 tree;
	/* Tells a reused inode number apart. */
	u32 generation;
	u32 unused;
};

/* A file of which an event could not be told. */
struct lost_file {
	u64 inode;
	u64 tree;
	u32 root;
	u32 generation;
};

/* What a process was when it last called execve(2). */
struct program {
	u64 started;
	u32 user;
	u32 unused;
	/* Number of its control group in the unified hierarchy. */
	u64 cgroup;
	char name[16];
	char executable[224];
};

enum counter { TOLD, DROPPED, DROPPED_UNNAMED, UNPLACED, COUNTERS };

/* Who tells of writes to a file system: its own hooks alone, or the ends of system calls too. */
enum teller { BY_HOOKS = 1, BY_CALLS = 2 };

/* Orders that user space gives by running the program `order`: {order, descriptor, root, teller}. */
enum order { ADD_ROOT, NEXT_GENERATION, WRITABLE_MAPPINGS };
