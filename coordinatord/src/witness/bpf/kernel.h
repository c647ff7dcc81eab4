/* What we read of the kernel's structures. The loader finds each field where the running kernel has it
 * (CO-RE), so only names and types matter here; no generated header is needed. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;
typedef u16 __sum16;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* linux/bpf.h */
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_LRU_HASH = 9, BPF_MAP_TYPE_RINGBUF = 27 };
enum { BPF_ANY = 0 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	int counter;
} atomic_t;
typedef struct {
	s64 counter;
} atomic64_t;
typedef struct {
	u32 val;
} kuid_t;
#ifdef __TARGET_ARCH_x86
struct pt_regs {
	unsigned long r10, r9, r8, dx, si, di, orig_ax;
};
#else
struct pt_regs {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
};
#endif
struct thread_info {
	unsigned long flags;
	u32 status;
};
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct dentry;
struct super_block {
	u32 s_dev;
	unsigned long s_magic;
	struct dentry *s_root;
};
struct inode;
struct address_space {
	struct inode *host;
	atomic_t i_mmap_writable;
};
struct inode {
	u16 i_mode;
	struct super_block *i_sb;
	struct address_space *i_mapping;
	unsigned long i_ino;
	unsigned int i_nlink;
	s64 i_size;
	u32 i_generation;
	struct hlist_head i_dentry;
};
struct dentry {
	struct dentry *d_parent;
	struct inode *d_inode;
	struct super_block *d_sb;
	union {
		struct hlist_node d_alias;
	} d_u;
};
struct file {
	struct inode *f_inode;
	s64 f_pos;
	unsigned int f_flags;
};
/* Up to 6.12, and from then on. */
struct file___before {
	atomic64_t f_count;
};
struct file_ref {
	atomic64_t refcnt;
};
struct file___counted {
	struct file_ref f_ref;
};
struct fdtable {
	u32 max_fds;
	struct file **fd;
};
struct files_struct {
	atomic_t count;
	struct fdtable *fdt;
};
struct cred {
	kuid_t euid;
};
struct kernfs_node {
	u64 id;
};
struct cgroup {
	struct kernfs_node *kn;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct task_struct {
	struct thread_info thread_info;
	int pid, tgid;
	u64 start_boottime;
	struct task_struct *group_leader;
	struct cred *real_cred;
	struct files_struct *files;
	struct css_set *cgroups;
};
struct linux_binprm {
	const char *filename;
};
struct folio {
	unsigned long index;
	unsigned long _flags_1;
};
struct page {
	unsigned long index;
};
struct kiocb {
	struct file *ki_filp;
	s64 ki_pos;
	int ki_flags;
};
struct iov_iter {
	u64 count;
};
struct btrfs_key {
	u64 objectid;
} __attribute__((packed));
struct btrfs_root {
	struct btrfs_key root_key;
};
struct btrfs_inode {
	struct btrfs_root *root;
	struct inode vfs_inode;
};
struct ovl_inode {
	struct inode vfs_inode;
	struct dentry *__upperdentry;
};
struct xfs_inode {
	struct inode i_vnode;
};
#pragma clang attribute pop
