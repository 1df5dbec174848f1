//! nginx in front of several consoles, as in a real installation.

use std::fmt::Write;
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
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let program = program.expect("nginx is installed (Debian package nginx; `make test` installs it)");
        let mut command = Command::new(program);
        command.arg("-p").arg(&prefix).arg("-c").arg(prefix.join("nginx.conf"));
        command.args(["-e", "stderr", "-g", "daemon off;"]);
        Self { process: Process::spawn(folder, "nginx", command), address }
    }

    /// The address that users know.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The same rules as in `deploy/nginx`: a console that does not answer is passed over for a second, and a request goes on to the next one unless
/// it may have been acted on already.
fn config(address: SocketAddr, consoles: &[SocketAddr]) -> String {
    let mut upstream = String::new();
    for console in consoles {
        writeln!(upstream, "        server {console} max_fails=1 fail_timeout=1s;")
            .expect("a text can be written");
    }
    format!(
        "worker_processes 1;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream consoles {{
{upstream}        keepalive 16;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://consoles;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_connect_timeout 1s;
            proxy_buffering off;
            proxy_next_upstream error timeout http_502 http_503;
            proxy_next_upstream_timeout 10s;
        }}
    }}
}}
"
    )
}
