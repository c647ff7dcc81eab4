//! Names of users and groups, from `/etc/passwd` and `/etc/group`.

use std::collections::HashMap;
use std::fs;
use std::time::SystemTime;

/// Owner names by number, read again when the files change. Names from other sources (LDAP) are not
/// known; the numbers always are.
#[derive(Default)]
pub struct Accounts {
    users: Table,
    groups: Table,
}

impl Accounts {
    /// Reads both files again if they changed. Call it now and then, not for every file.
    pub fn refresh(&mut self) {
        self.users.refresh("/etc/passwd");
        self.groups.refresh("/etc/group");
    }

    /// Name of a user.
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.names.get(&uid).map(String::as_str)
    }

    /// Name of a group.
    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.names.get(&gid).map(String::as_str)
    }
}

#[derive(Default)]
struct Table {
    modified: Option<SystemTime>,
    names: HashMap<u32, String>,
}

impl Table {
    fn refresh(&mut self, path: &str) {
        let modified = fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok();
        if modified.is_none() || modified == self.modified {
            return;
        }
        if let Ok(text) = fs::read_to_string(path) {
            self.names = parse(&text);
            self.modified = modified;
        }
    }
}

/// `name:password:number:…` lines; the first name of a number wins, as in getpwuid(3).
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(Ok(number))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_name_of_a_number_wins_and_nonsense_is_passed_over() {
        let names = parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\nbroken\nw:x:33:33\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&33).map(String::as_str), Some("w"));
        assert_eq!(names.len(), 2);
    }
}
