//! Where sources find this receiver: `serve` notes where it listens, `pair` puts that into codes.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::whole_file;

/// A daemon on this machine answers within this.
const ANSWER_MAX: Duration = Duration::from_secs(1);

const FILE_NAME: &str = "serve.toml";

/// Where `serve` listens, or did last.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenAddress {
    listening: Option<SocketAddr>,
}

impl ListenAddress {
    /// Notes it in the store.
    pub fn record(store: &Path, listening: SocketAddr) -> anyhow::Result<()> {
        let address = Self {
            listening: Some(listening),
        };
        whole_file::replace_toml(&store.join(FILE_NAME), &address)
    }

    /// Does anybody listen there now?
    pub fn answers(store: &Path) -> bool {
        let recorded: anyhow::Result<Self> = whole_file::read_toml(&store.join(FILE_NAME));
        recorded
            .ok()
            .and_then(|address| address.listening)
            .is_some_and(|address| TcpStream::connect_timeout(&address, ANSWER_MAX).is_ok())
    }

    /// `HOST:PORT` for a code. A receiver that listens on every address goes by its host name.
    pub fn for_code(store: &Path) -> anyhow::Result<String> {
        let recorded: Self = whole_file::read_toml(&store.join(FILE_NAME))?;
        let listening = recorded.listening.with_context(|| {
            format!(
                "nobody has served {} yet; start `everwrite-receiver serve` first, or give --address HOST:PORT",
                store.display()
            )
        })?;
        Ok(if listening.ip().is_unspecified() {
            let system = rustix::system::uname();
            format!(
                "{}:{}",
                system.nodename().to_string_lossy(),
                listening.port()
            )
        } else {
            listening.to_string()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_address(listening: &str) -> String {
        let store = tempfile::tempdir().unwrap();
        ListenAddress::record(store.path(), listening.parse().unwrap()).unwrap();
        ListenAddress::for_code(store.path()).unwrap()
    }

    #[test]
    fn an_address_goes_into_codes_as_it_is() {
        assert_eq!(code_address("127.0.0.1:77"), "127.0.0.1:77");
        assert_eq!(code_address("[::1]:77"), "[::1]:77");
    }

    #[test]
    fn every_address_goes_by_the_host_name() {
        let address = code_address("0.0.0.0:77");
        assert!(
            address.ends_with(":77") && !address.starts_with('0'),
            "{address}"
        );
    }

    #[test]
    fn without_a_serve_the_error_says_what_to_do() {
        let store = tempfile::tempdir().unwrap();
        let error = ListenAddress::for_code(store.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("serve") && error.contains("--address"),
            "{error}"
        );
    }
}
