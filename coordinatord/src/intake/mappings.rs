//! Which files are mapped by whom, over all processes: a file is unmapped when the last of them has
//! let go of it. Before, the end of a mapping only says that its content is to be looked at.

use std::collections::HashMap;

use everwrite_protocol::local::Inode;

use super::hint::What;

/// The mapped files, and the lanes that told of it.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    holders: HashMap<Inode, Vec<u64>>,
}

impl Mappings {
    /// What the lane `token` says, in the light of what others said.
    pub(super) fn translate(&mut self, token: u64, what: What) -> What {
        match what {
            What::Mapped { file, .. } => {
                let holders = self.holders.entry(file).or_default();
                if !holders.contains(&token) {
                    holders.push(token);
                }
                what
            }
            What::Unmapped { file, birth } if !self.let_go(token, file) => {
                What::Whole { file, birth }
            }
            _ => what,
        }
    }

    /// True when nobody holds the file any more.
    fn let_go(&mut self, token: u64, file: Inode) -> bool {
        let Some(holders) = self.holders.get_mut(&file) else {
            return true;
        };
        holders.retain(|holder| *holder != token);
        if holders.is_empty() {
            self.holders.remove(&file);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_to_let_go_unmaps() {
        let (file, birth) = (
            Inode {
                device: 1,
                inode: 2,
            },
            0,
        );
        let mapped = What::Mapped {
            file,
            birth,
            offset: 0,
            length: 9,
        };
        let unmapped = What::Unmapped { file, birth };
        let whole = What::Whole { file, birth };
        let mut mappings = Mappings::default();
        for token in [1, 2, 1] {
            assert_eq!(mappings.translate(token, mapped.clone()), mapped);
        }
        assert_eq!(mappings.translate(1, unmapped.clone()), whole);
        assert_eq!(mappings.translate(3, unmapped.clone()), whole);
        assert_eq!(mappings.translate(2, unmapped.clone()), unmapped);
        assert_eq!(mappings.translate(9, unmapped.clone()), unmapped);
        assert!(mappings.holders.is_empty());
    }
}
