//! Where the roots are, as the policy page says it: what lies elsewhere on a watched device is outside.

use std::sync::atomic::Ordering::Relaxed;

use everwrite_protocol::local::{POLICY_ROOT_BYTES_MAX, POLICY_ROOTS_MAX, PolicyPage, PolicyRoot};

/// Where the roots are, for those who see the same tree of directories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places {
    /// `stx_mnt_id` and `stx_ino` of `/`.
    pub top: [u64; 2],
    /// All of them.
    pub roots: Vec<RootPlace>,
}

impl Places {
    /// Are all roots of `other` among these?
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.roots.iter().all(|root| self.roots.contains(root))
    }
}

/// Where a root is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootPlace {
    /// `st_dev`.
    pub device: u64,
    /// `stx_mnt_id`.
    pub mount: u64,
    /// Absolute, without links.
    pub path: Vec<u8>,
}

/// Writes them down, for a reader who does not look meanwhile. When they do not fit, none is named, and
/// nothing is outside.
pub(super) fn write(page: &PolicyPage, places: Option<&Places>) {
    let none = Places::default();
    let places = places.unwrap_or(&none);
    let all_fit = places.roots.len() <= POLICY_ROOTS_MAX && places.roots.iter().all(fits);
    let count = if all_fit { places.roots.len() } else { 0 };
    for (place, word) in page.top.iter().zip(places.top) {
        place.store(word, Relaxed);
    }
    for (place, root) in page.roots.iter().zip(&places.roots).take(count) {
        write_root(place, root);
    }
    page.root_count.store(count as u64, Relaxed);
}

fn fits(root: &RootPlace) -> bool {
    root.path.len() <= POLICY_ROOT_BYTES_MAX
}

fn write_root(place: &PolicyRoot, root: &RootPlace) {
    place.device.store(root.device, Relaxed);
    place.mount.store(root.mount, Relaxed);
    place.length.store(root.path.len() as u64, Relaxed);
    for (word, bytes) in place.path.iter().zip(root.path.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(padded), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Policy;
    use super::*;

    fn at(path: &str) -> Places {
        let root = RootPlace {
            device: 1,
            mount: 2,
            path: path.into(),
        };
        Places {
            top: [3, 4],
            roots: vec![root],
        }
    }

    #[test]
    fn what_becomes_a_root_is_told_apart_from_what_ceases_to_be_one() {
        let home = tempfile::tempdir().unwrap();
        let policy = Policy::open(home.path()).unwrap();
        let (one, mut two) = (at("/one"), at("/one"));
        two.roots.extend(at("/two").roots);
        let steps = [
            (Some(&one), false),
            (Some(&one), false),
            (Some(&two), true),
            (Some(&one), false),
            (None, true),
            (Some(&two), false),
        ];
        for (places, expected) in steps {
            assert_eq!(policy.set_places(places), expected, "{places:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_cut() {
        let page = |places: &Places| {
            let home = tempfile::tempdir().unwrap();
            let policy = Policy::open(home.path()).unwrap();
            policy.set_places(Some(places));
            policy.named_roots()
        };
        assert_eq!(page(&at("/some/root")), 1);
        assert_eq!(page(&at(&"/x".repeat(POLICY_ROOT_BYTES_MAX / 2))), 1);
        assert_eq!(page(&at(&"/x".repeat(POLICY_ROOT_BYTES_MAX / 2 + 1))), 0);
        let mut many = at("/0");
        (1..=POLICY_ROOTS_MAX).for_each(|n| many.roots.extend(at(&format!("/{n}")).roots));
        assert_eq!(page(&many), 0);
    }
}
