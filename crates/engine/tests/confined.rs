//! The abilities of a process that is confined as engine children are.
//!
//! This binary starts itself again for each attempt: as it is, to show that the attempt would
//! succeed, and confined.

#![expect(unsafe_code, reason = "it makes system calls as hostile code would")]

use std::{
    env,
    ffi::CString,
    fs::{self, File, OpenOptions, Permissions},
    io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{
        fs::PermissionsExt,
        net::UnixDatagram,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    thread,
};

use libtest_mimic::{Arguments, Trial};
use myriad_engine::worker::{ConfineError, KeyAccess, can_confine, confine};
use nix::libc::{self, c_long};

/// The things that the processes know about each other.
struct Surroundings {
    /// A folder that is not the keys'.
    outside: PathBuf,
    keys: PathBuf,
    /// A process that nobody needs, and that another one might harm.
    victim: i32,
    /// A port where a process listens.
    port: u16,
}

/// The end that an attempt must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It succeeds.
    Done,
    /// The system answers with an error.
    Refused,
    /// The system ends the process.
    Killed,
}

use End::{Done, Killed, Refused};

/// A name, an attempt, and its end for a child that works with keys and for one that makes them.
type Attempt = (&'static str, fn(&Surroundings) -> io::Result<()>, End, End);

const ATTEMPTS: &[Attempt] = &[
    (
        "read a key",
        |at| fs::read(at.keys.join("a.keys")).map(drop),
        Done,
        Refused,
    ),
    ("start a thread", start_thread, Done, Done),
    ("take memory", take_memory, Done, Done),
    ("read a file outside", read_outside, Refused, Refused),
    ("read it by way of the keys", read_around, Refused, Refused),
    ("read it from another thread", read_in_thread, Refused, Refused),
    (
        "list a folder outside",
        |at| fs::read_dir(&at.outside).map(drop),
        Refused,
        Refused,
    ),
    (
        "read another's environment",
        |at| open(at, "environ"),
        Refused,
        Refused,
    ),
    ("open another's memory", |at| open(at, "mem"), Refused, Refused),
    (
        "write a file outside",
        |at| fs::write(at.outside.join("new"), "x"),
        Killed,
        Killed,
    ),
    (
        "remove a file outside",
        |at| fs::remove_file(scrap(&at.outside)),
        Killed,
        Killed,
    ),
    (
        "write a new key",
        |at| fs::write(at.keys.join("new.keys"), "x"),
        Killed,
        Killed,
    ),
    (
        "change a key",
        |at| fs::write(at.keys.join("b.keys"), "x"),
        Killed,
        Killed,
    ),
    ("append to a key", append, Killed, Killed),
    (
        "remove a key",
        |at| fs::remove_file(scrap(&at.keys)),
        Killed,
        Killed,
    ),
    (
        "rename a key",
        |at| fs::rename(scrap(&at.keys), at.keys.join("other")),
        Killed,
        Killed,
    ),
    (
        "make a folder",
        |at| fs::create_dir(at.keys.join("folder")),
        Killed,
        Killed,
    ),
    ("change who may read a key", change_mode, Killed, Killed),
    (
        "change who may read what is open",
        |_| call(libc::SYS_fchmod, &[2, 0o600]),
        Killed,
        Killed,
    ),
    ("change it by the older call", set_permissions, Killed, Killed),
    (
        "connect by TCP",
        |at| TcpStream::connect(("127.0.0.1", at.port)).map(drop),
        Killed,
        Killed,
    ),
    (
        "open a UDP socket",
        |_| UdpSocket::bind("127.0.0.1:0").map(drop),
        Killed,
        Killed,
    ),
    (
        "open a Unix socket",
        |_| UnixDatagram::unbound().map(drop),
        Killed,
        Killed,
    ),
    (
        "run another program",
        |_| Err(Command::new("/bin/true").exec()),
        Killed,
        Killed,
    ),
    ("start a process", start_process, Killed, Killed),
    (
        "signal another process",
        |at| call(libc::SYS_kill, &[at.victim.into(), 0]),
        Killed,
        Killed,
    ),
    ("signal another's thread", signal_thread, Killed, Killed),
    ("have another signalled", have_signalled, Killed, Killed),
    ("trace another process", trace, Killed, Killed),
    ("read another's memory", read_memory, Killed, Killed),
    ("limit another process", limit_another, Killed, Killed),
    ("map memory that is executed", map_code, Killed, Killed),
    ("map memory that others share", map_shared, Killed, Killed),
    ("map memory that grows downwards", map_stack, Killed, Killed),
    (
        "make a file of memory",
        |_| call(libc::SYS_memfd_create, &[c"x".as_ptr() as c_long, 0]),
        Killed,
        Killed,
    ),
    ("make a segment of shared memory", share_segment, Killed, Killed),
    (
        "make a namespace",
        |_| call(libc::SYS_unshare, &[libc::CLONE_NEWUTS.into()]),
        Killed,
        Killed,
    ),
    (
        "watch files",
        |_| call(libc::SYS_inotify_init1, &[0]),
        Killed,
        Killed,
    ),
    ("ignore the filter's signal", ignore_signal, Killed, Killed),
];

fn start_thread(_: &Surroundings) -> io::Result<()> {
    thread::spawn(|| ())
        .join()
        .map_err(|_| io::Error::other("it panicked"))
}

fn take_memory(_: &Surroundings) -> io::Result<()> {
    drop(std::hint::black_box(vec![1u8; 64 << 20]));
    Ok(())
}

fn read_outside(surroundings: &Surroundings) -> io::Result<()> {
    fs::read(surroundings.outside.join("secret")).map(drop)
}

fn read_around(surroundings: &Surroundings) -> io::Result<()> {
    fs::read(surroundings.keys.join("../outside/secret")).map(drop)
}

fn read_in_thread(surroundings: &Surroundings) -> io::Result<()> {
    let secret = surroundings.outside.join("secret");
    thread::spawn(move || fs::read(secret).map(drop)).join().unwrap()
}

fn open(surroundings: &Surroundings, file: &str) -> io::Result<()> {
    File::open(format!("/proc/{}/{file}", surroundings.victim)).map(drop)
}

/// A file that nobody needs, which was made before.
fn scrap(dir: &Path) -> PathBuf {
    dir.join("scrap")
}

fn append(surroundings: &Surroundings) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(surroundings.keys.join("b.keys"))
        .map(drop)
}

fn call(number: c_long, arguments: &[c_long]) -> io::Result<()> {
    let at = |place: usize| arguments.get(place).copied().unwrap_or(0);
    // SAFETY: the call reads and changes no memory but its arguments.
    match unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn change_mode(surroundings: &Surroundings) -> io::Result<()> {
    let path = CString::new(surroundings.keys.join("b.keys").to_str().unwrap()).unwrap();
    call(
        libc::SYS_fchmodat,
        &[libc::AT_FDCWD.into(), path.as_ptr() as c_long, 0o666],
    )
}

fn set_permissions(surroundings: &Surroundings) -> io::Result<()> {
    fs::set_permissions(surroundings.keys.join("b.keys"), Permissions::from_mode(0o600))
}

fn start_process(_: &Surroundings) -> io::Result<()> {
    // SAFETY: the new process ends at once.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: nothing is cleaned up.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

fn signal_thread(surroundings: &Surroundings) -> io::Result<()> {
    call(
        libc::SYS_tgkill,
        &[surroundings.victim.into(), surroundings.victim.into(), 0],
    )
}

/// The system signals the process that is named here when there is something to read.
fn have_signalled(surroundings: &Surroundings) -> io::Result<()> {
    call(
        libc::SYS_fcntl,
        &[1, libc::F_SETOWN.into(), surroundings.victim.into()],
    )
}

fn trace(surroundings: &Surroundings) -> io::Result<()> {
    call(
        libc::SYS_ptrace,
        &[libc::PTRACE_SEIZE.into(), surroundings.victim.into()],
    )
}

/// Reads no bytes of another process: the system checks the permission all the same.
fn read_memory(surroundings: &Surroundings) -> io::Result<()> {
    call(libc::SYS_process_vm_readv, &[surroundings.victim.into()])
}

fn limit_another(surroundings: &Surroundings) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let limit = (&raw const limit) as c_long;
    call(
        libc::SYS_prlimit64,
        &[surroundings.victim.into(), libc::RLIMIT_CORE.into(), limit],
    )
}

fn map(protection: i32, flags: i32) -> io::Result<()> {
    let flags = flags | libc::MAP_ANONYMOUS;
    call(libc::SYS_mmap, &[0, 4096, protection.into(), flags.into(), -1, 0])
}

fn map_code(_: &Surroundings) -> io::Result<()> {
    map(libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE)
}

/// Maps shared memory, which would not count for the limit of data.
fn map_shared(_: &Surroundings) -> io::Result<()> {
    map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
}

/// A mapping that grows as a stack does would not count either.
fn map_stack(_: &Surroundings) -> io::Result<()> {
    map(
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_GROWSDOWN,
    )
}

fn share_segment(_: &Surroundings) -> io::Result<()> {
    // SAFETY: nothing is mapped, and the segment is removed.
    let segment = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) };
    if segment == -1 {
        return Err(io::Error::last_os_error());
    }
    call(libc::SYS_shmctl, &[segment.into(), libc::IPC_RMID.into(), 0])
}

fn ignore_signal(_: &Surroundings) -> io::Result<()> {
    // SAFETY: it is not sent before the process ends.
    match unsafe { libc::signal(libc::SIGSYS, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The process that tries.
fn attempt(args: &[String]) -> ExitCode {
    let [name, how, outside, keys, victim, port] = args else {
        panic!("{args:?}");
    };
    let surroundings = Surroundings {
        outside: outside.into(),
        keys: keys.into(),
        victim: victim.parse().unwrap(),
        port: port.parse().unwrap(),
    };
    let (_, attempt, ..) = ATTEMPTS.iter().find(|(known, ..)| known == name).unwrap();
    match how.as_str() {
        "free" => {}
        "read" => confine(&surroundings.keys, KeyAccess::Read).unwrap(),
        "make" => confine(&surroundings.keys, KeyAccess::Make).unwrap(),
        "late" => {
            let (_stop, wait) = std::sync::mpsc::channel::<()>();
            thread::spawn(move || wait.recv());
            let late = confine(&surroundings.keys, KeyAccess::Read);
            assert!(
                matches!(late, Err(ConfineError::Threads { count: 2 })),
                "{late:?}"
            );
        }
        _ => panic!("{how}"),
    }
    match attempt(&surroundings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(if e.kind() == io::ErrorKind::PermissionDenied {
                3
            } else {
                4
            })
        }
    }
}

fn start(name: &str, how: &str, surroundings: &Surroundings) -> Output {
    for dir in [&surroundings.outside, &surroundings.keys] {
        fs::write(scrap(dir), "nobody needs this").unwrap();
    }
    for left in ["folder", "other", "new.keys"] {
        let left = surroundings.keys.join(left);
        let _ = fs::remove_file(&left).or_else(|_| fs::remove_dir(&left));
    }
    Command::new(env::current_exe().unwrap())
        .args(["try", name, how])
        .args([&surroundings.outside, &surroundings.keys])
        .args([surroundings.victim.to_string(), surroundings.port.to_string()])
        .output()
        .unwrap()
}

fn ended(output: &Output) -> Option<End> {
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Some(Done),
        (Some(3), _) => Some(Refused),
        (_, Some(libc::SIGSYS)) => Some(Killed),
        _ => None,
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "try") {
        return attempt(&args[1..]);
    }
    let name = "a_confined_process_can_do_what_proving_needs_and_nothing_else";
    let test = || {
        try_all();
        Ok(())
    };
    let trial = match can_confine() {
        Ok(()) => Trial::test(name, test),
        Err(missing) if env::var_os("CI").is_some() => Trial::test(name, move || {
            Err(format!("where CI is set every test has to run, and this one cannot: {missing}").into())
        }),
        Err(missing) => Trial::test(name, test).with_kind(missing).with_ignored_flag(true),
    };
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn try_all() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut victim = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    let surroundings = Surroundings {
        outside: dir.path().join("outside"),
        keys: dir.path().join("keys"),
        victim: victim.id() as i32,
        port: listener.local_addr().unwrap().port(),
    };
    for dir in [&surroundings.outside, &surroundings.keys] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(surroundings.outside.join("secret"), "known to the owner").unwrap();
    for key in ["a.keys", "b.keys"] {
        fs::write(surroundings.keys.join(key), "a key").unwrap();
    }
    let mut wrong = Vec::new();
    for (name, _, with_keys, making) in ATTEMPTS {
        for (how, wanted) in [("free", Done), ("read", *with_keys), ("make", *making)] {
            let output = start(name, how, &surroundings);
            let end = ended(&output);
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            println!("{how}: {name}: {end:?} {said}");
            if end != Some(wanted) || (wanted == Killed && !said.contains("is forbidden")) {
                wrong.push(format!(
                    "{how}: {name}: {} and not {wanted:?}; {said}",
                    output.status
                ));
            }
        }
    }
    // A process that has threads already does not count as confined.
    let late = start("read a key", "late", &surroundings);
    if ended(&late) != Some(Done) {
        wrong.push(format!("late: {late:?}"));
    }
    assert!(matches!(victim.try_wait(), Ok(None)), "the other process goes on");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
