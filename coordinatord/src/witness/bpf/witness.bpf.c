/* The witness: tells which bytes of which protected file are written, whoever writes them and however.
 *
 * It listens where the file system itself knows (ext4, xfs), so nothing but writing costs more, and where
 * a clean page becomes dirty, which is all that a store into a mapping ever shows. It tells of files below
 * a root only; whether a file is, is found by walking up its directories once, and remembered.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "event.h"

char LICENSE[] SEC("license") = "GPL";

/* Kernel structures are read by plain loads where the kernel can vouch for the type (6.2), else by calls. */
#ifdef PLAIN_LOADS
extern void *bpf_rdonly_cast(const void *object, u32 btf_id) __ksym;
#define TYPED(type, address) ((struct type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(struct type)))
#define READ(object, field) ((object)->field)
#define READ2(object, first, second) ((object)->first->second)
#else
#define TYPED(type, address) ((struct type *)(address))
#define READ(object, field) BPF_CORE_READ((object), field)
#define READ2(object, first, second) BPF_CORE_READ((object), first, second)
#endif

/* Set before loading. */
const volatile struct {
	/* The coordinator itself. */
	u32 self;
	/* Which bit of a page's flags says that it is the head of a larger folio. */
	u32 head_bit;
	/* The code by which ext4 sets attributes: where, and how many bytes. */
	u64 ext4_setattr, ext4_setattr_length;
} settings = {};

/* What is known about files holds for one generation. Directories were moved, or there are other roots. */
u64 generation = 1;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/* Directories, by address of the inode; user space keeps a descriptor to each, which keeps the address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u32);
} roots SEC(".maps");

/* File systems that have a root, and who tells of them: everything else is let pass with one look. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, u32);
} devices SEC(".maps");

struct verdict {
	u64 inode;
	u64 generation;
	u64 parent;
	u32 reused;
	/* 0: outside. */
	u32 root;
	/* It was told that the file is mapped and touched. */
	u32 touched;
	u32 unused;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 16);
	__type(key, u64);
	__type(value, struct verdict);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 14);
	__type(key, struct lost_file);
	__type(value, u64);
} lost SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 13);
	__type(key, u32);
	__type(value, struct program);
} programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

/* A global function takes numbers only: an address goes through here to become one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} number SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct program);
} scratch SEC(".maps");

static __always_inline void count(u32 counter)
{
	u64 *value = bpf_map_lookup_elem(&counters, &counter);
	if (value)
		(*value)++;
}

static __always_inline u64 as_number(u64 address)
{
	u32 zero = 0;
	volatile u64 *place = bpf_map_lookup_elem(&number, &zero);
	if (!place)
		return 0;
	*place = address;
	return *place;
}

/* ---- Is it below a root? ---- */

#define DEPTH_MAX 64
#define ALIASES_MAX 16

/* Root of a name, 0 when it has none. */
__noinline u32 root_above(u64 name)
{
	struct dentry *entry = TYPED(dentry, name);
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		u64 inode = (u64)READ(entry, d_inode);
		u32 *root = bpf_map_lookup_elem(&roots, &inode);
		if (root)
			return *root;
		struct dentry *parent = READ(entry, d_parent);
		if ((u64)parent == (u64)entry || !parent) {
			/* One that was opened by its handle, as NFS does, may hang in no tree. */
			if ((u64)READ2(entry, d_sb, s_root) != (u64)entry)
				count(UNPLACED);
			return 0;
		}
		entry = parent;
	}
	count(UNPLACED);
	return 0;
}

#define ENTRY_OF(alias) ((u64)(alias) - bpf_core_field_offset(struct dentry, d_u.d_alias))

/* Finds out, and remembers. A file that has several names is inside if one of them is; that none of those
 * known to the kernel now is inside says nothing for later, so it is not remembered. */
__noinline u32 find_root(u64 address)
{
	struct inode *inode = TYPED(inode, address);
	struct verdict found = {
		.inode = READ(inode, i_ino),
		.generation = generation,
		.reused = READ(inode, i_generation),
	};
	struct hlist_node *alias = READ(inode, i_dentry.first);
	if (!alias)
		return 0;
	found.parent = (u64)READ(TYPED(dentry, ENTRY_OF(alias)), d_parent);
	for (int i = 0; i < ALIASES_MAX && alias && !found.root; i++) {
		found.root = root_above(as_number(ENTRY_OF(alias)));
		alias = READ(TYPED(hlist_node, alias), next);
	}
	if (found.root || READ(inode, i_nlink) < 2)
		bpf_map_update_elem(&verdicts, &address, &found, BPF_ANY);
	return found.root;
}

static __always_inline struct verdict *known_verdict(struct inode *inode)
{
	u64 address = (u64)inode;
	struct verdict *known = bpf_map_lookup_elem(&verdicts, &address);
	if (!known || known->generation != generation || known->inode != READ(inode, i_ino) ||
	    known->reused != READ(inode, i_generation))
		return NULL;
	/* Renamed into another directory, or given another name: looked at anew. */
	struct hlist_node *alias = READ(inode, i_dentry.first);
	if (!alias || (u64)READ(TYPED(dentry, ENTRY_OF(alias)), d_parent) != known->parent)
		return NULL;
	return known;
}

/* ---- Telling ---- */

#define BTRFS 0x9123683e /* s_magic */

/* btrfs: the subvolume. It may be a module, of whose types plain loads know nothing. */
static __always_inline u64 tree_of(struct inode *inode)
{
	if (READ2(inode, i_sb, s_magic) != BTRFS || !bpf_core_field_exists(struct btrfs_inode, vfs_inode))
		return 0;
	u64 address = (u64)inode - bpf_core_field_offset(struct btrfs_inode, vfs_inode);
	return BPF_CORE_READ((struct btrfs_inode *)address, root, root_key.objectid);
}

static __always_inline void lose(struct inode *inode, u32 root)
{
	struct lost_file file = {
		.inode = READ(inode, i_ino),
		.tree = tree_of(inode),
		.root = root,
		.generation = READ(inode, i_generation),
	};
	u64 now = bpf_ktime_get_ns();
	count(DROPPED);
	if (bpf_map_update_elem(&lost, &file, &now, BPF_ANY))
		count(DROPPED_UNNAMED);
}

static __always_inline bool is_mapped(struct inode *inode)
{
	return READ2(inode, i_mapping, i_mmap_writable.counter) > 0;
}

/* What happened, and the flags that go with it. */
#define WITH(kind, flags) ((kind) | (flags) << 16)

static __noinline int tell(struct inode *inode, u32 root, u32 what, u64 offset, u64 length)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
	if (!event) {
		/* By asking for durability nothing changes that would have to be looked at. */
		if ((what & 0xffff) != SYNCED)
			lose(inode, root);
		return 0;
	}
	struct task_struct *task = bpf_get_current_task_btf();
	event->inode = READ(inode, i_ino);
	event->offset = offset;
	event->length = length;
	event->at = bpf_ktime_get_ns();
	event->started = task->group_leader->start_boottime;
	event->tree = tree_of(inode);
	event->generation = READ(inode, i_generation);
	event->unused = 0;
	event->root = root;
	event->process = task->tgid;
	/* Not whose rights it borrows: overlayfs lends those of whoever mounted it. */
	event->user = task->real_cred->euid.val;
	event->kind = what;
	event->flags = what >> 16 | (is_mapped(inode) ? MAPPED : 0);
	bpf_get_current_comm(event->program, sizeof event->program);
	bpf_ringbuf_submit(event, 0);
	count(TOLD);
	return 0;
}

static __always_inline bool matters(struct inode *inode)
{
	u32 device = READ2(inode, i_sb, s_dev);
	if (!bpf_map_lookup_elem(&devices, &device))
		return false;
	/* A file without a name is in no tree; should it get one, all of it is read. */
	return (READ(inode, i_mode) & 0170000) == 0100000 && READ(inode, i_nlink) &&
	       bpf_get_current_pid_tgid() >> 32 != settings.self;
}

static __always_inline int changed(struct inode *inode, u32 what, u64 offset, u64 length)
{
	if (!length || !matters(inode))
		return 0;
	struct verdict *known = known_verdict(inode);
	u32 root = known ? known->root : find_root(as_number((u64)inode));
	if (!root)
		return 0;
	if (known && !is_mapped(inode))
		known->touched = 0;
	return tell(inode, root, what, offset, length);
}

/* ---- ext4 ---- */

/* These come before the file's size is raised. */
SEC("tp_btf/ext4_da_write_end")
int BPF_PROG(ext4_da_write, struct inode *inode, s64 offset, u32 length, u32 copied)
{
	return changed(inode, WRITTEN, offset, copied);
}
SEC("tp_btf/ext4_write_end")
int BPF_PROG(ext4_write, struct inode *inode, s64 offset, u32 length, u32 copied)
{
	return changed(inode, WRITTEN, offset, copied);
}
SEC("tp_btf/ext4_journalled_write_end")
int BPF_PROG(ext4_journalled_write, struct inode *inode, s64 offset, u32 length, u32 copied)
{
	return changed(inode, WRITTEN, offset, copied);
}
SEC("tp_btf/ext4_truncate_exit")
int BPF_PROG(ext4_truncated, struct inode *inode)
{
	return changed(inode, WRITTEN, READ(inode, i_size), ~0ull);
}
/*
 * A file that truncate(2) makes longer has no hook of its own: but its inode becomes dirty, just before it has the new
 * size. Who made it so tells this from writes, and from times that move.
 */
SEC("tp_btf/ext4_mark_inode_dirty")
int BPF_PROG(ext4_resized, struct inode *inode, unsigned long caller)
{
	if (caller - settings.ext4_setattr >= settings.ext4_setattr_length)
		return 0;
	return changed(inode, WITH(ATTRIBUTES, PENDING), 0, ~0ull);
}
/* These come before the bytes change. Before 6.14 the first tells of all kinds. */
#define KEEP_SIZE 0x01
#define MOVES_WHAT_FOLLOWS (0x08 | 0x20) /* FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE */

SEC("tp_btf/ext4_fallocate_enter")
int BPF_PROG(ext4_fallocate, struct inode *inode, s64 offset, s64 length, int mode)
{
	if (!(mode & ~KEEP_SIZE))
		return changed(inode, WITH(ATTRIBUTES, PENDING), 0, length);
	return changed(inode, WITH(WRITTEN, PENDING), offset, mode & MOVES_WHAT_FOLLOWS ? ~0ull : length);
}
SEC("tp_btf/ext4_punch_hole")
int BPF_PROG(ext4_punch, struct inode *inode, s64 offset, s64 length, int mode)
{
	return changed(inode, WITH(WRITTEN, PENDING), offset, length);
}
SEC("tp_btf/ext4_zero_range")
int BPF_PROG(ext4_zero, struct inode *inode, s64 offset, s64 length, int mode)
{
	return changed(inode, WITH(WRITTEN, PENDING), offset, length);
}
SEC("tp_btf/ext4_collapse_range")
int BPF_PROG(ext4_collapse, struct inode *inode, s64 offset, s64 length)
{
	return changed(inode, WITH(WRITTEN, PENDING), offset, ~0ull);
}
SEC("tp_btf/ext4_insert_range")
int BPF_PROG(ext4_insert, struct inode *inode, s64 offset, s64 length)
{
	return changed(inode, WITH(WRITTEN, PENDING), offset, ~0ull);
}

/* ---- Direct I/O of ext4, xfs and others ---- */

#define IOCB_WRITE (1 << 18)

SEC("tp_btf/iomap_dio_complete")
int BPF_PROG(direct_written, struct kiocb *request, int error, s64 written)
{
	if (written <= 0 || !(request->ki_flags & IOCB_WRITE))
		return 0;
	return changed(request->ki_filp->f_inode, WRITTEN, request->ki_pos - written, written);
}

/* ---- xfs: told before the copy, under the lock that a reader waits for ---- */

static __always_inline int xfs_write(struct kiocb *request, struct iov_iter *data)
{
	return changed(request->ki_filp->f_inode, WRITTEN, request->ki_pos, data->count);
}
SEC("tp_btf/xfs_file_buffered_write")
int BPF_PROG(xfs_buffered_write, struct kiocb *request, struct iov_iter *data)
{
	return xfs_write(request, data);
}
SEC("tp_btf/xfs_file_direct_write")
int BPF_PROG(xfs_direct_write, struct kiocb *request, struct iov_iter *data)
{
	return xfs_write(request, data);
}
SEC("tp_btf/xfs_file_dax_write")
int BPF_PROG(xfs_dax_write, struct kiocb *request, struct iov_iter *data)
{
	return xfs_write(request, data);
}
/* These come before it happens. */
SEC("tp_btf/xfs_setattr")
int BPF_PROG(xfs_attributes, struct xfs_inode *inode)
{
	return changed(&inode->i_vnode, WITH(ATTRIBUTES, PENDING), 0, ~0ull);
}
static __always_inline int xfs_space(struct xfs_inode *inode)
{
	return changed(&inode->i_vnode, WITH(SOMEWHERE, PENDING), 0, ~0ull);
}
SEC("tp_btf/xfs_free_file_space")
int BPF_PROG(xfs_free, struct xfs_inode *inode)
{
	return xfs_space(inode);
}
SEC("tp_btf/xfs_zero_file_space")
int BPF_PROG(xfs_zero, struct xfs_inode *inode)
{
	return xfs_space(inode);
}
SEC("tp_btf/xfs_collapse_file_space")
int BPF_PROG(xfs_collapse, struct xfs_inode *inode)
{
	return xfs_space(inode);
}
SEC("tp_btf/xfs_insert_file_space")
int BPF_PROG(xfs_insert, struct xfs_inode *inode)
{
	return xfs_space(inode);
}
SEC("tp_btf/xfs_reflink_remap_range")
int BPF_PROG(xfs_reflink, struct xfs_inode *from, s64 from_offset, s64 length, struct xfs_inode *to, s64 offset)
{
	return changed(&to->i_vnode, WITH(WRITTEN, PENDING), offset, length);
}

/* ---- Durability: fsync(2) and its like, by whatever way. What it covers was told before ---- */

SEC("tp_btf/ext4_sync_file_enter")
int BPF_PROG(ext4_synced, struct file *file, int datasync)
{
	return changed(READ(file, f_inode), SYNCED, 0, ~0ull);
}
SEC("tp_btf/xfs_file_fsync")
int BPF_PROG(xfs_synced, struct xfs_inode *inode)
{
	return changed(&inode->i_vnode, SYNCED, 0, ~0ull);
}

/* ---- Mappings ---- */

#define FOLIO_ORDER_MASK 0xff
#define PAGE_SHIFT 12

static __always_inline int stored(struct address_space *mapping, u64 index, u64 pages)
{
	struct inode *inode = mapping ? mapping->host : NULL;
	if (!inode || READ(mapping, i_mmap_writable.counter) <= 0)
		return 0;
	return changed(inode, STORED, index << PAGE_SHIFT, pages << PAGE_SHIFT);
}

SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(folio_dirtied, struct folio *folio, struct address_space *mapping)
{
	u64 flags = 0, pages = 1;
	/* The first word on every kernel; its type changed in 6.18. */
	bpf_probe_read_kernel(&flags, sizeof flags, folio);
	if (flags & 1ull << settings.head_bit)
		pages = 1ull << (folio->_flags_1 & FOLIO_ORDER_MASK);
	return stored(mapping, folio->index, pages);
}
/* The same before 5.18. */
SEC("tp_btf/writeback_dirty_page")
int BPF_PROG(page_dirtied, struct page *page, struct address_space *mapping)
{
	return stored(mapping, page->index, 1);
}

/* A page that was dirty already when it was mapped does not show when it is stored into. So it is told,
 * once, that pages of a mapped file are used: whoever hears of it has them cleaned, and from then on they
 * show. */
static __always_inline int used(struct inode *inode)
{
	if (!inode || !is_mapped(inode) || !matters(inode))
		return 0;
	struct verdict *known = known_verdict(inode);
	u32 root = known ? known->root : find_root(as_number((u64)inode));
	if (!root)
		return 0;
	if (!known)
		known = known_verdict(inode);
	if (!known || known->touched)
		return 0;
	known->touched = 1;
	return tell(inode, root, TOUCHED, 0, ~0ull);
}

/* The first use of a page through a mapping (6.12): of one, or of those around it. */
SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(page_used, struct address_space *mapping, unsigned long index)
{
	return used(mapping->host);
}
SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(pages_used, struct address_space *mapping, unsigned long first, unsigned long last)
{
	return used(mapping->host);
}
/* Storing moves the file's times, if they have not been moved in the same tick; the only sign on older
 * kernels, and of file systems that keep everything in memory. */
SEC("tp_btf/writeback_mark_inode_dirty")
int BPF_PROG(times_moved, struct inode *inode, int flags)
{
	return used(inode);
}

/* ---- System calls ---- */

#include "calls.h"

/* ---- Who is who: programs that end before anybody can ask ---- */

SEC("tp_btf/sched_process_exec")
int BPF_PROG(program_began, struct task_struct *task, int old, struct linux_binprm *binary)
{
	u32 zero = 0, process = task->tgid;
	struct program *program = bpf_map_lookup_elem(&scratch, &zero);
	if (!program)
		return 0;
	program->started = task->group_leader->start_boottime;
	program->user = task->real_cred->euid.val;
	program->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	bpf_get_current_comm(program->name, sizeof program->name);
	program->executable[0] = 0;
	bpf_probe_read_kernel_str(program->executable, sizeof program->executable, binary->filename);
	bpf_map_update_elem(&programs, &process, program, BPF_ANY);
	return 0;
}
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_began, struct task_struct *parent, struct task_struct *child)
{
	u32 zero = 0, old = parent->tgid, process = child->tgid;
	struct program *program = bpf_map_lookup_elem(&programs, &old);
	struct program *copy = bpf_map_lookup_elem(&scratch, &zero);
	if (child->pid != process || !program || !copy)
		return 0;
	*copy = *program;
	copy->started = child->start_boottime;
	copy->cgroup = BPF_CORE_READ(child, cgroups, dfl_cgrp, kn, id);
	bpf_map_update_elem(&programs, &process, copy, BPF_ANY);
	return 0;
}

/* ---- Orders from user space, run in its own context ---- */

SEC("raw_tp/order")
int order(u64 *arguments)
{
	u32 root = arguments[2];
	if (arguments[0] == NEXT_GENERATION) {
		__sync_fetch_and_add(&generation, 1);
		return 0;
	}
	struct file *file = file_of(arguments[1]);
	if (!file)
		return -1;
	struct inode *inode = READ(file, f_inode);
	u64 address = (u64)inode;
	u32 device = READ2(inode, i_sb, s_dev), teller = arguments[3];
	switch (arguments[0]) {
	case ADD_ROOT:
		if (bpf_map_update_elem(&devices, &device, &teller, BPF_ANY) ||
		    bpf_map_update_elem(&roots, &address, &root, BPF_ANY))
			return -1;
		break;
	case WRITABLE_MAPPINGS:
		bpf_map_delete_elem(&verdicts, &address);
		return READ2(inode, i_mapping, i_mmap_writable.counter);
	}
	__sync_fetch_and_add(&generation, 1);
	return 0;
}
