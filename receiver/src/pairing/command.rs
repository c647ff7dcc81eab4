//! `everwrite-receiver pair`: prints a code.

use std::path::{Path, PathBuf};

use super::{ListenAddress, PairingCode, VALID_MINUTES, invite};

/// What `pair` was told.
#[derive(Clone, Debug, clap::Args)]
pub struct Pair {
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Where sources will find this receiver, when that is not where `serve` listens
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints a one-time code on standard output; what a person should know about it, on standard error.
pub fn pair(options: &Pair) -> anyhow::Result<()> {
    let code = make_code(&options.store, options.address.clone())?;
    if options.json {
        let answer = serde_json::json!({
            "code": code.to_string(),
            "address": code.address,
            "valid_minutes": VALID_MINUTES,
        });
        println!("{answer}");
    } else {
        println!("{code}");
        eprintln!("valid for {VALID_MINUTES} minutes, once; on the source: everwrite pair CODE");
    }
    if !ListenAddress::answers(&options.store) {
        eprintln!(
            "nobody serves this store now; start `everwrite-receiver serve` before the code is used"
        );
    }
    Ok(())
}

fn make_code(store: &Path, address: Option<String>) -> anyhow::Result<PairingCode> {
    let address = address.map_or_else(|| ListenAddress::for_code(store), Ok)?;
    anyhow::ensure!(
        PairingCode::is_address(&address),
        "{address} is not HOST:PORT; give one that sources can reach by --address"
    );
    invite(store, address)
}
