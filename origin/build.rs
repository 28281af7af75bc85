//! Makes sure the player's build folder exists, so that it can be embedded even while it is empty:
//! `cargo build` works without Node, and the pages then say what is missing.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Asked for now, not when this was compiled: a target folder may serve several checkouts.
    let dist = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../player-demo/dist");
    std::fs::create_dir_all(&dist)?;
    println!("cargo:rerun-if-changed={}", dist.display());
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}
