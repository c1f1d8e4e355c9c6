//! Processes of `myriad`, watched through their logs.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A line that the process of this number has logged, or none when it has ended.
pub type Said = (usize, Option<String>);

/// The text in a field of a logged line, as in `stage="lease"`.
pub fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(text, _)| text)
}

/// A running process.
pub struct Process {
    pub number: usize,
    child: Child,
    reader: Option<JoinHandle<()>>,
}

pub fn myriad() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriad"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MYRIAD_")) {
        command.env_remove(name);
    }
    command.env("MYRIAD_LOG", "error,myriad=debug,myriad_node=debug");
    command
}

impl Process {
    /// Starts a process. Its output is added to `log`, and `heard` gets each line at once.
    pub fn start(number: usize, mut command: Command, log: &Path, heard: Sender<Said>) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut log = File::options().create(true).append(true).open(log).unwrap();
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                writeln!(log, "{line}").unwrap();
                // A listener that is gone has heard enough.
                let _ = heard.send((number, Some(line)));
            }
            let _ = heard.send((number, None));
        });
        Self {
            number,
            child,
            reader: Some(reader),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without a word, as the system does when it has no memory left. Returns the children
    /// that it leaves.
    pub fn kill(mut self) -> Vec<u32> {
        let children = children_of(self.child.id());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        children
    }

    pub fn wait(mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only after a failed assertion there is still something to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let tasks = PathBuf::from(format!("/proc/{parent}/task"));
    let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// Whether all of these processes end within a time. One that is a zombie has ended.
pub fn all_end(processes: &[u32], within: Duration) -> bool {
    let since = Instant::now();
    let lives = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let state = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .chars()
            .next();
        state.is_some_and(|state| state != 'Z')
    };
    while processes.iter().any(lives) {
        if since.elapsed() > within {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
    true
}
