//! Which libsrt this is, for the log.
//!
//! Distributions mend holes without changing the library's own version, so the package's is told too
//! where the system keeps a list of packages. `infra/setup.sh` refuses one with known holes.

use tracing::{info, warn};

/// Where Debian keeps what is installed.
const STATUS: &str = "/var/lib/dpkg/status";
/// The package that the library comes in.
const PACKAGE: &str = "libsrt1.5-gnutls";
/// Its versions in Debian 12 with holes that anybody can reach who reaches the port (CVE-2026-55868,
/// CVE-2026-55869).
const HOLED: [&str; 2] = ["1.5.1-1", "1.5.1-1+deb12u1"];

/// Logs the versions.
pub(super) fn tell() {
    let version = ingest::srt::version();
    let package = std::fs::read_to_string(STATUS).ok().and_then(|status| installed(&status));
    match package {
        Some(package) if HOLED.contains(&package.as_str()) => {
            warn!(version, package, "libsrt has known holes: upgrade it");
        }
        package => info!(version, package, "libsrt"),
    }
}

/// The version of the package in a list of packages.
fn installed(status: &str) -> Option<String> {
    let head = format!("Package: {PACKAGE}\n");
    let record = status.split("\n\n").find(|record| record.starts_with(&head))?;
    record.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_found_among_others() {
        let status = "Package: libsrt1.5-openssl\nVersion: 1\n\nPackage: libsrt1.5-gnutls\n\
                      Status: install ok installed\nVersion: 1.5.1-1+deb12u2\n\nPackage: z\n";
        assert_eq!(installed(status).as_deref(), Some("1.5.1-1+deb12u2"));
        assert_eq!(installed("Package: z\nVersion: 1\n"), None);
    }
}
