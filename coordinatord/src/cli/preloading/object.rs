//! The two kinds of library that are put in place: the shim's sealed copy, and empty ones.
//!
//! Little endian only, as all processors are that the shim or its twins are made for.

/// What tells programs of one kind of processor from others in an ELF header, see `elf(5)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Kind {
    /// Addresses of 64 bits.
    pub(in crate::cli) wide: bool,
    /// `e_machine`.
    pub(in crate::cli) machine: u16,
    /// `e_flags`, which some loaders look at.
    pub(in crate::cli) flags: u32,
}

/// `shim` with its program headers at the very end. The loader reads them before it maps anything: of
/// a copy that is cut short it says that it can't be loaded and goes on, where an ordinary one, mapped
/// beyond its end, would kill each program by SIGBUS. `None`: it is no 64-bit library.
pub(in crate::cli) fn sealed(shim: &[u8]) -> Option<Vec<u8>> {
    if shim.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let from = usize::try_from(u64::from_le_bytes(shim.get(32..40)?.try_into().ok()?)).ok()?;
    let half = |at: usize| {
        Some(usize::from(u16::from_le_bytes(
            shim.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let headers = shim.get(from..from.checked_add(half(54)? * half(56)?)?)?;
    let mut sealed = shim.to_owned();
    sealed.resize(shim.len().next_multiple_of(8), 0);
    let end = sealed.len() as u64;
    sealed[32..40].copy_from_slice(&end.to_le_bytes());
    sealed.extend_from_slice(headers);
    Some(sealed)
}

/// Whether these bytes are a sealed shim, whole. Those with nothing in them are much shorter.
pub(in crate::cli) fn is_shim(bytes: &[u8]) -> bool {
    const SHORTEST: usize = 4096;
    let ends_with_headers = || {
        let from = u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?);
        let count = u64::from(u16::from_le_bytes(bytes.get(56..58)?.try_into().ok()?));
        Some(from.checked_add(count * 56)? == bytes.len() as u64)
    };
    let machine = crate::cli::blind_spot::MACHINE.to_le_bytes();
    bytes.starts_with(b"\x7fELF\x02\x01")
        && bytes.get(18..20) == Some(&machine)
        && bytes.len() >= SHORTEST
        && ends_with_headers() == Some(true)
}

/// A library of some hundred bytes with nothing in it: no code, no symbol, nothing needed.
pub(in crate::cli) fn empty(kind: Kind) -> Vec<u8> {
    const TABLES: usize = 3;
    let (word, header, entry) = if kind.wide { (8, 64, 56) } else { (4, 52, 32) };
    let symbol = if kind.wide { 24 } else { 16 };
    let dynamic = header;
    let strings = dynamic + 6 * 2 * word;
    let symbols = strings + word;
    let hash = symbols + symbol;
    let headers = (hash + 5 * 4usize).next_multiple_of(word);
    let mut file = Writer {
        wide: kind.wide,
        bytes: Vec::new(),
    };
    file.bytes.extend_from_slice(b"\x7fELF");
    file.bytes
        .extend_from_slice(&[if kind.wide { 2 } else { 1 }, 1, 1]);
    file.bytes.resize(16, 0);
    file.header(kind, headers, [header, entry, TABLES]);
    const DT_HASH_STRTAB_SYMTAB_STRSZ_SYMENT: [usize; 5] = [4, 5, 6, 10, 11];
    let values = [hash, strings, symbols, 1, symbol];
    for (tag, value) in DT_HASH_STRTAB_SYMTAB_STRSZ_SYMENT.into_iter().zip(values) {
        file.word(tag);
        file.word(value);
    }
    // The end of the dynamic section, an empty string, the null symbol.
    file.bytes.resize(hash, 0);
    // One bucket with nothing in it, one symbol.
    [1, 1, 0, 0, 0]
        .into_iter()
        .for_each(|value| file.quad(value));
    file.bytes.resize(headers, 0);
    file.segment(1, 0, headers, 0x10000);
    file.segment(2, dynamic, strings - dynamic, word);
    file.segment(0x6474_e551, 0, 0, 16);
    file.bytes
}

/// Writes words of a program's width.
struct Writer {
    wide: bool,
    bytes: Vec<u8>,
}

impl Writer {
    fn half(&mut self, value: usize) {
        self.bytes.extend_from_slice(&(value as u16).to_le_bytes());
    }

    fn quad(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, value: usize) {
        match self.wide {
            true => self.bytes.extend_from_slice(&(value as u64).to_le_bytes()),
            false => self.quad(value as u32),
        }
    }

    /// From `e_type` on; `sizes` are those of the header and of a program header, and their number.
    fn header(&mut self, kind: Kind, headers: usize, sizes: [usize; 3]) {
        const ET_DYN: usize = 3;
        self.half(ET_DYN);
        self.half(usize::from(kind.machine));
        self.quad(1);
        [0, headers, 0]
            .into_iter()
            .for_each(|value| self.word(value));
        self.quad(kind.flags);
        sizes
            .into_iter()
            .chain([0; 3])
            .for_each(|value| self.half(value));
    }

    /// A program header of something readable and writable: the loader writes into the dynamic section.
    fn segment(&mut self, kind: u32, at: usize, bytes: usize, align: usize) {
        const READ_WRITE: u32 = 6;
        self.quad(kind);
        if self.wide {
            self.quad(READ_WRITE);
        }
        [at, at, at, bytes, bytes]
            .into_iter()
            .for_each(|value| self.word(value));
        if !self.wide {
            self.quad(READ_WRITE);
        }
        self.word(align);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Preloads `library` into `true`; what the loader says, and whether the program ended well.
    fn preloaded(library: &[u8]) -> (String, bool) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("library.so");
        std::fs::write(&path, library).unwrap();
        let ran = Command::new("/bin/true")
            .env("LD_PRELOAD", path)
            .output()
            .unwrap();
        (
            String::from_utf8_lossy(&ran.stderr).into_owned(),
            ran.status.success(),
        )
    }

    const OWN: Kind = Kind {
        wide: true,
        machine: crate::cli::blind_spot::MACHINE,
        flags: 0,
    };

    #[test]
    fn the_loader_takes_an_empty_library() {
        assert_eq!(preloaded(&empty(OWN)), (String::new(), true));
    }

    #[test]
    fn an_empty_library_that_is_cut_short_is_refused_without_harm() {
        let library = empty(OWN);
        for cut in [0, 1, 63, 64, 100, library.len() - 1] {
            let (said, well) = preloaded(&library[..cut]);
            assert!(
                well && said.contains("cannot be preloaded"),
                "{cut}: {said}"
            );
        }
    }

    #[test]
    fn headers_move_to_the_end() {
        let library = empty(OWN);
        let sealed = sealed(&library).unwrap();
        assert_eq!(
            &sealed[sealed.len() - 3 * 56..],
            &library[library.len() - 3 * 56..]
        );
        assert_eq!(preloaded(&sealed), (String::new(), true));
        assert_eq!(super::sealed(b"\x7fELF\x01\x01"), None);
        for cut in 0..library.len() {
            assert_eq!(super::sealed(&library[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn narrow_ones_have_narrow_words() {
        let narrow = empty(Kind {
            wide: false,
            machine: 3,
            flags: 7,
        });
        assert_eq!(narrow.len(), 236);
        assert_eq!((narrow[4], narrow[18], narrow[36]), (1, 3, 7));
        assert_eq!(narrow[28] as usize, 236 - 3 * 32);
    }
}
