//! A running service.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// It looks for its provers and for an address first.
const START_MAX: Duration = Duration::from_secs(120);
/// What the service grants itself for a stop, and some more.
const STOP_MAX: Duration = Duration::from_secs(60);

pub struct Service {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// The command `myriad`, without the settings of whoever runs the tests.
pub fn clean(program: &str, dir: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MYRIAD_")) {
        command.env_remove(name);
    }
    command.current_dir(dir).env("MYRIAD_DATA_DIR", data);
    command
}

/// A data folder with the proving keys that other tests have made.
pub fn data_folder(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys");
    // There may be none yet.
    fs::create_dir_all(&keys).unwrap();
    fs::create_dir_all(&data).unwrap();
    std::os::unix::fs::symlink(&keys, data.join("keys")).unwrap();
    data
}

impl Service {
    /// Starts it with one prover, and waits until it takes jobs.
    pub fn start(dir: &Path, data: &Path) -> Self {
        // Another process may take the port before the service does: then the test fails, and says
        // so.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let log = dir.join("serve.log");
        let child = clean(env!("CARGO_BIN_EXE_myriad"), dir, data)
            .args(["serve", "--provers", "1", "--http", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut service = Self { child, address, log };
        let begun = Instant::now();
        while !service.is_ready() {
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("the service has ended ({status}):\n{}", service.log());
            }
            assert!(begun.elapsed() < START_MAX, "it is not ready:\n{}", service.log());
            thread::sleep(Duration::from_millis(100));
        }
        service
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        let asked = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                stream,
                "GET /readyz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
                self.address
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    }

    /// Asks it to end, as systemd does.
    pub fn stop(mut self) {
        self.signal();
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < STOP_MAX, "it does not stop:\n{}", self.log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

impl Drop for Service {
    /// After a failure: its provers end with it.
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal();
            let _ = self.child.wait();
        }
    }
}
