/* Where a file system has no hooks of its own: the ends of system calls tell which bytes were written.
 *
 * A program at every system call's begin and end, of every process of the machine. What can't be told exactly is
 * told wider. A process that changes files in ways that are not understood here (rings, asynchronous calls, calls
 * through the 32-bit door, by path) is told of once, and from then on what fanotify tells of it counts alone.
 */
#pragma once

enum call {
	OTHER,
	/* Writes where the file's position is, or at the end of one opened for appending. */
	AT_POSITION,
	/* At an offset. */
	AT_OFFSET,
	/* At an offset, or at the position for -1; with flags. */
	WITH_FLAGS,
	/* From a pipe or another file, at the position if there is no offset. */
	MOVED,
	RESIZED,
	ALLOCATED,
	CONTROLLED,
	SOUGHT,
	OPENED,
	ADVISED,
	SYNCING,
	NOT_UNDERSTOOD,
};

/* By number; one array for each architecture. */
#define CALLS_MAX 512
#ifdef __TARGET_ARCH_x86
static const u8 calls[CALLS_MAX] SEC(".rodata.calls") = {
	[1] = AT_POSITION, [20] = AT_POSITION, [18] = AT_OFFSET, [296] = AT_OFFSET, [328] = WITH_FLAGS,
	[40] = AT_POSITION, /* sendfile */
	[275] = MOVED, [326] = MOVED, /* splice, copy_file_range */
	[77] = RESIZED, [285] = ALLOCATED, [16] = CONTROLLED, [8] = SOUGHT,
	[2] = OPENED, [85] = OPENED, [257] = OPENED, [437] = OPENED, /* open, creat, openat, openat2 */
	[28] = ADVISED, [74] = SYNCING, [75] = SYNCING, /* fsync, fdatasync */
	[76] = NOT_UNDERSTOOD, /* truncate */
	[206] = NOT_UNDERSTOOD, [209] = NOT_UNDERSTOOD, /* io_setup, io_submit */
	[425] = NOT_UNDERSTOOD, [426] = NOT_UNDERSTOOD, /* io_uring_setup, io_uring_enter */
};
#define OPEN 2
#define CREAT 85
#define OPENAT 257
/* TS_COMPAT; x32. */
#define OTHER_DOOR(task, number) ((task)->thread_info.status & 2 || (u64)(number) >> 30 == 1)
#define NUMBER(regs) ((regs)->orig_ax)
#define ARGUMENT0(regs) ((regs)->di)
#define ARGUMENT1(regs) ((regs)->si)
#define ARGUMENT2(regs) ((regs)->dx)
#define ARGUMENT3(regs) ((regs)->r10)
#define ARGUMENT5(regs) ((regs)->r9)
#else
static const u8 calls[CALLS_MAX] SEC(".rodata.calls") = {
	[64] = AT_POSITION, [66] = AT_POSITION, [68] = AT_OFFSET, [70] = AT_OFFSET, [287] = WITH_FLAGS,
	[71] = AT_POSITION, [76] = MOVED, [285] = MOVED,
	[46] = RESIZED, [47] = ALLOCATED, [29] = CONTROLLED, [62] = SOUGHT,
	[56] = OPENED, [437] = OPENED, [233] = ADVISED, [82] = SYNCING, [83] = SYNCING,
	[45] = NOT_UNDERSTOOD, [0] = NOT_UNDERSTOOD, [2] = NOT_UNDERSTOOD,
	[425] = NOT_UNDERSTOOD, [426] = NOT_UNDERSTOOD,
};
#define OPEN -1
#define CREAT -1
#define OPENAT 56
#define OTHER_DOOR(task, number) ((task)->thread_info.flags & 1 << 22) /* TIF_32BIT */
#define NUMBER(regs) ((regs)->syscallno)
#define ARGUMENT0(regs) ((regs)->orig_x0)
#define ARGUMENT1(regs) ((regs)->regs[1])
#define ARGUMENT2(regs) ((regs)->regs[2])
#define ARGUMENT3(regs) ((regs)->regs[3])
#define ARGUMENT5(regs) ((regs)->regs[5])
#endif

#define O_APPEND 02000
#define O_TRUNC 01000
#ifdef __TARGET_ARCH_x86
#define O_DIRECT 040000
#else
#define O_DIRECT 0200000
#endif
#define RWF_APPEND 0x10
#define RWF_NOAPPEND 0x20
#define MADV_REMOVE 9

/* Processes of which it was told that they are not understood. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 13);
	__type(key, u32);
	__type(value, u64);
} not_understood SEC(".maps");

/* What a thread found when it began to write to a file that others may be at, too. */
struct begun {
	u64 file;
	u64 position;
	u32 seeks;
	u32 flags;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 13);
	__type(key, u32);
	__type(value, struct begun);
} begun SEC(".maps");

/* Seeks in files that several are at, begun and ended. */
struct seeks {
	u32 begun;
	u32 ended;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 12);
	__type(key, u64);
	__type(value, struct seeks);
} seeks SEC(".maps");

/* Not what any count of seeks can be: one is under way. */
#define SEEKING ~0u

static __noinline int tell_not_understood(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 process = task->tgid;
	u64 started = task->group_leader->start_boottime;
	u64 *known = bpf_map_lookup_elem(&not_understood, &process);
	if (known && *known == started)
		return 0;
	struct event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
	if (!event) {
		/* Comes again with the next call; until then all is looked at. */
		count(DROPPED_UNNAMED);
		return 0;
	}
	__builtin_memset(event, 0, sizeof *event);
	event->kind = UNTOLD;
	event->process = process;
	event->started = started;
	event->at = bpf_ktime_get_ns();
	bpf_ringbuf_submit(event, 0);
	bpf_map_update_elem(&not_understood, &process, &started, BPF_ANY);
	return 0;
}

static __always_inline struct file *file_of(u32 descriptor)
{
	struct task_struct *task = bpf_get_current_task_btf();
	if (!task->files)
		return NULL;
	struct fdtable *table = task->files->fdt;
	u64 file = 0;
	if (descriptor >= table->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof file, &table->fd[descriptor]);
	return file ? TYPED(file, file) : NULL;
}

#define OVERLAYFS 0x794c7630 /* s_magic */

/* What is written by way of the file: in an overlay, what its upper directory has of it. overlayfs may be a module,
 * of whose types plain loads know nothing. */
static __always_inline struct inode *written_by(struct file *file)
{
	struct inode *inode = READ(file, f_inode);
	if (READ2(inode, i_sb, s_magic) != OVERLAYFS || !bpf_core_field_exists(struct ovl_inode, __upperdentry))
		return inode;
	u64 address = (u64)inode - bpf_core_field_offset(struct ovl_inode, vfs_inode);
	struct dentry *upper = BPF_CORE_READ((struct ovl_inode *)address, __upperdentry);
	/* Nothing is written to what lies in a lower directory: it is copied first. */
	return upper ? READ(TYPED(dentry, upper), d_inode) : inode;
}

static __always_inline bool is_told_by_calls(struct file *file)
{
	struct inode *inode = written_by(file);
	u32 device = READ2(inode, i_sb, s_dev);
	u32 *how = bpf_map_lookup_elem(&devices, &device);
	return how && *how == BY_CALLS && (READ(inode, i_mode) & 0170000) == 0100000;
}

/* May its position be moved by others, or the descriptor be given to another file, meanwhile? */
static __always_inline bool has_threads(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	return task->files->count.counter > 1;
}
static __always_inline bool is_shared(struct file *file)
{
	/* From 6.13 on counted from 0. */
	if (bpf_core_field_exists(struct file___counted, f_ref))
		return BPF_CORE_READ((struct file___counted *)file, f_ref.refcnt.counter) > 0;
	return BPF_CORE_READ((struct file___before *)file, f_count.counter) > 1;
}

static __always_inline u32 seeks_of(struct file *file)
{
	u64 address = (u64)file;
	struct seeks *known = bpf_map_lookup_elem(&seeks, &address);
	if (!known)
		return 0;
	return known->begun == known->ended ? known->begun : SEEKING;
}

static __always_inline void remember(struct file *file)
{
	u32 thread = bpf_get_current_pid_tgid();
	struct begun found = {
		.file = (u64)file,
		.position = READ(file, f_pos),
		.flags = READ(file, f_flags),
		.seeks = seeks_of(file),
	};
	bpf_map_update_elem(&begun, &thread, &found, BPF_ANY);
}

static __always_inline void begin_seek(struct file *file, bool shared)
{
	u64 address = (u64)file;
	struct seeks *known = bpf_map_lookup_elem(&seeks, &address), first = { .begun = 1 };
	if (known)
		__sync_fetch_and_add(&known->begun, 1);
	else if (shared)
		bpf_map_update_elem(&seeks, &address, &first, BPF_ANY);
}

static __always_inline void end_seek(struct file *file)
{
	u64 address = (u64)file;
	struct seeks *known = bpf_map_lookup_elem(&seeks, &address);
	if (known)
		__sync_fetch_and_add(&known->ended, 1);
}

static __always_inline u32 call_of(u64 number)
{
	return number < CALLS_MAX ? calls[number & (CALLS_MAX - 1)] : OTHER;
}

static __always_inline u32 descriptor_of(u32 call, struct pt_regs *regs)
{
	return call == MOVED ? ARGUMENT2(regs) : ARGUMENT0(regs);
}

#define TOLD_BY_CALL(kind) WITH(kind, BY_CALL)

static __always_inline int told(struct file *file, u32 kind, u64 offset, u64 length)
{
	return changed(written_by(file), TOLD_BY_CALL(kind), offset, length);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(call_began, struct pt_regs *regs, long number)
{
	struct task_struct *task = bpf_get_current_task_btf();
	if (OTHER_DOOR(task, number))
		return tell_not_understood();
	u32 call = call_of(number);
	if (call == OTHER || call == RESIZED || call == ALLOCATED || call == CONTROLLED || call == OPENED)
		return 0;
	if (call == NOT_UNDERSTOOD || (call == ADVISED && ARGUMENT2(regs) == MADV_REMOVE))
		return tell_not_understood();
	if (call == ADVISED)
		return 0;
	struct file *file = file_of(descriptor_of(call, regs));
	if (!file || !is_told_by_calls(file))
		return 0;
	if (call == SYNCING)
		return told(file, SYNCED, 0, ~0ull);
	bool shared = has_threads() || is_shared(file);
	if (call == SOUGHT)
		begin_seek(file, shared);
	else if (shared)
		remember(file);
	return 0;
}

/* `before`: what was found when it began, if others may be at the file. */
static __always_inline int wrote_at_position(struct file *file, struct begun *before, u64 length)
{
	u64 end = READ(file, f_pos);
	if (!before)
		return told(file, is_shared(file) ? SOMEWHERE : WRITTEN, end - length, length);
	if (before->seeks == SEEKING || before->seeks != seeks_of(file) || end < before->position + length)
		return told(file, SOMEWHERE, 0, ~0ull);
	return told(file, WRITTEN, before->position, end - before->position);
}

static __always_inline int wrote(struct file *file, u32 call, struct pt_regs *regs, long result)
{
	struct begun copy, *before = NULL;
	u32 thread = bpf_get_current_pid_tgid(), flags = READ(file, f_flags);
	struct begun *found = bpf_map_lookup_elem(&begun, &thread);
	if (found) {
		copy = *found, before = &copy;
		bpf_map_delete_elem(&begun, &thread);
		/* Closed meanwhile, and opened anew: nobody knows what was written to. */
		if (before->file != (u64)file)
			return tell_not_understood();
	} else if (has_threads()) {
		return told(file, SOMEWHERE, 0, ~0ull);
	}
	if (result <= 0)
		return result < 0 && flags & O_DIRECT ? told(file, SOMEWHERE, 0, ~0ull) : 0;
	u64 offset = ARGUMENT3(regs), how = call == WITH_FLAGS ? ARGUMENT5(regs) : 0;
	if (how & RWF_NOAPPEND || (before && (before->flags ^ flags) & O_APPEND) || (call == MOVED && offset))
		return told(file, SOMEWHERE, 0, ~0ull);
	if (flags & O_APPEND || how & RWF_APPEND)
		return told(file, APPENDED, 0, result);
	if (call == AT_OFFSET || (call == WITH_FLAGS && offset != ~0ull))
		return told(file, WRITTEN, offset, result);
	return wrote_at_position(file, before, result);
}

/* btrfs's own calls, which others understand too (FICLONE, FICLONERANGE, encoded writes), and those of xfs (RESVSP to
 * ZERO_RANGE). */
static __always_inline bool changes_content(u32 control)
{
	u32 type = control >> 8 & 0xff, number = control & 0xff;
	return type == 'X' || (type == 0x94 && (number == 9 || number == 13 || number == 64));
}

static __always_inline bool truncates(u64 number, struct pt_regs *regs, struct file *file)
{
	if (number == CREAT)
		return true;
	if (number == OPEN)
		return ARGUMENT1(regs) & O_TRUNC;
	if (number == OPENAT)
		return ARGUMENT2(regs) & O_TRUNC;
	/* openat2: its flags lie in the program's memory. */
	return READ(file, f_flags) & 3;
}

static __always_inline int allocated(struct file *file, struct pt_regs *regs)
{
	u64 mode = ARGUMENT1(regs), offset = ARGUMENT2(regs), length = ARGUMENT3(regs);
	if (!(mode & ~KEEP_SIZE))
		return told(file, ATTRIBUTES, 0, ~0ull);
	return told(file, WRITTEN, offset, mode & MOVES_WHAT_FOLLOWS ? ~0ull : length);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_ended, struct pt_regs *regs, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 number = NUMBER(regs);
	if (OTHER_DOOR(task, number))
		return tell_not_understood();
	u32 call = call_of(number);
	if (call == OTHER || call == NOT_UNDERSTOOD || call == ADVISED || call == SYNCING)
		return 0;
	if (call == OPENED && result < 0)
		return 0;
	if (call == CONTROLLED && !changes_content(ARGUMENT1(regs)))
		return 0;
	struct file *file = file_of(call == OPENED ? result : descriptor_of(call, regs));
	if (!file || !is_told_by_calls(file))
		return 0;
	switch (call) {
	case SOUGHT:
		end_seek(file);
		return 0;
	case OPENED:
		return truncates(number, regs, file) ? told(file, SOMEWHERE, 0, ~0ull) : 0;
	case RESIZED:
	case CONTROLLED:
		return told(file, SOMEWHERE, 0, ~0ull);
	case ALLOCATED:
		return allocated(file, regs);
	}
	return wrote(file, call, regs, result);
}
