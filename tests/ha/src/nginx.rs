//! nginx in front of several consoles, as in a real installation.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::folder::Folder;
use crate::process::Process;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// Its process, for signals.
    pub process: Process,
    address: SocketAddr,
}

impl Nginx {
    /// Starts one at `address` before these consoles. Panics with what to install where nginx is missing.
    pub fn start(folder: &Folder, address: SocketAddr, consoles: &[SocketAddr]) -> Self {
        let prefix = folder.join("nginx");
        std::fs::create_dir_all(&prefix).expect("the folder of a test can be written");
        std::fs::write(prefix.join("nginx.conf"), config(address, consoles))
            .expect("the folder of a test can be written");
        let mut command = Command::new(program());
        command.arg("-p").arg(&prefix).arg("-c").arg(prefix.join("nginx.conf"));
        command.args(["-e", "stderr", "-g", "daemon off;"]);
        Self { process: Process::spawn(folder, "nginx", command), address }
    }

    /// The address that users know.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What we ship in `deploy/nginx`, with the addresses of this installation.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx/carillon.conf");

/// The program. Panics with what to install where it is missing.
pub(crate) fn program() -> &'static Path {
    let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].map(Path::new);
    let found = places.into_iter().find(|path| path.exists());
    found.expect("nginx is installed (Debian package nginx; `make test` installs it)")
}

/// What we ship, for an nginx at `address` before these consoles.
pub(crate) fn config(address: SocketAddr, consoles: &[SocketAddr]) -> String {
    let shipped = std::fs::read_to_string(SHIPPED).unwrap_or_else(|error| panic!("{SHIPPED}: {error}"));
    let (mut rules, mut places) = (String::new(), consoles.iter());
    for line in shipped.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // As many consoles as there are here; surplus lines go.
            ["server", name, options @ ..] if name.starts_with("console-") => {
                if let Some(place) = places.next() {
                    rules.push_str(&format!("server {place} {}\n", options.join(" ")));
                }
            }
            ["listen", _] => rules.push_str(&format!("listen {address};\n")),
            _ => rules.push_str(&format!("{line}\n")),
        }
    }
    assert!(
        places.next().is_none(),
        "{SHIPPED} has fewer consoles than the {} of this cluster",
        consoles.len()
    );
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};\n"));
    format!(
        "worker_processes 1;\npid nginx.pid;\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\n{}{rules}}}\n",
        temporary.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_rules_get_the_addresses_of_the_installation() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let config = config(address(1), &[address(2), address(3)]);
        for part in ["listen 127.0.0.1:1;", "server 127.0.0.1:2 max_fails", "server 127.0.0.1:3 max_fails"] {
            assert!(config.contains(part), "{part}: {config}");
        }
        assert!(!config.contains("console-"), "{config}");
    }
}
