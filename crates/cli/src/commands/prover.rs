//! `myriad prover`: lends this machine.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{self, IsTerminal, Read},
    time::Duration,
};

use indicatif::ProgressBar;
use myriad_core::{EngineName, Peer};
use myriad_engine::worker::{Engines, WorkerConfig};
use myriad_net::{Network, parse_peer, peer_name, wire::Role};
use myriad_node::{
    Machine,
    prover::{self, Activity, Calibration, Child, Limits, Status, StatusFile},
};
use serde::Serialize;

use crate::{
    activity::activity,
    args::Prover,
    confinement::{UNCONFINED, confinement},
    engines::{OwnEngine, other_binary},
    error::Error,
    handshake,
    network::{log, net_config, on_signal, runtime},
    settings::{Settings, SettingsError},
    terminal::{self, CYAN, DIM},
};

pub fn run(args: &Prover) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Flags<'a> {
        #[serde(flatten)]
        limits: &'a crate::args::OwnerFlags,
        #[serde(flatten)]
        net: &'a crate::args::NetFlags,
        #[serde(flatten)]
        data: &'a crate::args::DataFlags,
    }
    let mut settings = Settings::load(&Flags {
        limits: &args.limits,
        net: &args.net,
        data: &args.data,
    })?;
    settings.engines = settings.engines.only(&settings.owner.engines)?;
    if let Err(missing) = confinement()
        && !args.unconfined
    {
        return Err(Error::Unconfined { missing });
    }
    let on_terminal = io::stderr().is_terminal();
    // The status line of a terminal tells what matters.
    log(if on_terminal { "warn" } else { "info" });
    let (dir, status_file) = StatusFile::claim(&settings.data_dir)?;
    let threads = settings
        .threads_wanted
        .map_or_else(|| Machine::detect().cores, usize::from);
    let limits = limits(&settings, threads)?;
    let children = children(&mut settings, args, threads)?;
    let engine = Child::new(children, settings.memory, calibration(&settings, threads));
    let config = net_config(&settings, &dir, Role::Prover, settings.owner.disk_bytes)?;
    let until_stdin_ends = args.until_stdin_ends;
    let ended = runtime()?.block_on(async {
        let (network, events) = Network::start(config)?;
        if !args.data.json {
            terminal::note(format_args!(
                "this machine lends {} and {}, as {}",
                settings.memory,
                terminal::plural(threads, "thread"),
                peer_name(network.peer())
            ));
        }
        let view = View::new(on_terminal && !args.data.json);
        let stop = stop(until_stdin_ends);
        let observe = |status: &Status| view.show(status);
        let ended = prover::run(network, events, engine, limits, &status_file, observe, stop).await;
        view.clear();
        ended.map_err(Error::from)
    })?;
    if args.data.json {
        terminal::print_json(&ended).map_err(Error::Stdout)?;
    } else {
        terminal::note(format_args!(
            "stopped; {} accepted, {} rejected",
            terminal::plural(ended.accepted as usize, "proof"),
            ended.rejected
        ));
    }
    Ok(())
}

fn limits(settings: &Settings, threads: usize) -> Result<Limits, Error> {
    Ok(Limits {
        memory: settings.memory,
        threads,
        max_instructions: settings.owner.max_instructions,
        max_input_bytes: settings.owner.max_input_bytes,
        only: peers(&settings.owner.only)?,
        never: peers(&settings.owner.never)?,
        prefer: peers(&settings.owner.prefer)?,
    })
}

/// Waits until the user, the system or the process at the other end of stdin wants the prover to
/// stop.
async fn stop(until_stdin_ends: bool) {
    if until_stdin_ends {
        tokio::select! {
            () = on_signal() => {}
            () = stdin_ends() => {}
        }
    } else {
        on_signal().await;
    }
}

/// The measured speed of this machine, if there is a profile that still holds. It can be lent
/// without one: requesters believe its offer only until its work shows better.
fn calibration(settings: &Settings, threads: usize) -> Option<Calibration> {
    let (measured, unused) = Calibration::measured(&settings.data_dir, &settings.engines.ids(), threads);
    unused.into_iter().for_each(terminal::note);
    let measured = measured?;
    terminal::note(format_args!(
        "the profile of `{}` says that this machine does the work of {:.2} cores of the reference machine",
        measured.engine, measured.calibration.speed
    ));
    Some(measured.calibration)
}

fn peers(names: &[String]) -> Result<BTreeSet<Peer>, Error> {
    names
        .iter()
        .map(|text| parse_peer(text).ok_or_else(|| Error::PeerName { text: text.clone() }))
        .collect()
}

/// The children of all engines whose binaries are of use. The settings lose the others: a requester
/// that hears of an engine gives out leases for it, and each would fail.
///
/// # Errors
/// [`Error::NoEngineLeft`]
fn children(settings: &mut Settings, args: &Prover, threads: usize) -> Result<Engines, Error> {
    let mut reasons: Vec<String> = settings
        .engines
        .no_binary()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut configs = Vec::new();
    for engine in settings.engines.iter() {
        let config = child(engine, settings, args, threads)?;
        let greeted = match engine.binary() {
            Some(path) => handshake::greet(&config, settings.memory)
                .map_err(|said| format!("{} {said}; {}", path.display(), other_binary())),
            // It is of this build.
            None => Ok(()),
        };
        match greeted {
            Ok(()) => configs.push(config),
            Err(reason) => reasons.push(format!("`{}`: {reason}", engine.facts.id.name)),
        }
    }
    let names: Vec<EngineName> = configs.iter().map(|config| config.engine.id.name).collect();
    if names.is_empty() {
        return Err(Error::NoEngineLeft { reasons });
    }
    for reason in reasons {
        terminal::note(format_args!("an engine is left out: {reason}"));
    }
    settings.engines = settings.engines.only(&names)?;
    Ok(configs.into_iter().collect())
}

/// A child of an engine, which gives way to the owner's programs.
fn child(
    engine: &OwnEngine,
    settings: &Settings,
    args: &Prover,
    threads: usize,
) -> Result<WorkerConfig, SettingsError> {
    let keys = args.keys.clone().unwrap_or_else(|| settings.keys_dir());
    let mut config = settings.worker_of(engine, &keys, threads)?;
    if args.unconfined {
        config.args.push(UNCONFINED.into());
    }
    if settings.owner.nice > 0 {
        let myriad = config.command.to_string_lossy().into_owned();
        let nice = ["-n".into(), settings.owner.nice.to_string(), myriad];
        config.args = nice.into_iter().chain(config.args).collect();
        config.command = "nice".into();
    }
    Ok(config)
}

/// Waits for the end of stdin: the process that started this one is gone when its end of the pipe
/// is.
async fn stdin_ends() {
    // A thread of its own: it is never joined, and must not hold up the end of the process.
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1..)) {}
        let _ = ended.send(());
    });
    let _ = end.await;
}

/// The time of one picture of the spinner.
const SPINNER_TICK: Duration = Duration::from_millis(120);

/// The display of a prover: one line on the terminal, or a line in a log for each change.
struct View {
    line: Option<ProgressBar>,
    /// The line that was seen last, and the one that was written last.
    last: RefCell<(String, String)>,
}

impl View {
    fn new(on_terminal: bool) -> Self {
        let line = on_terminal.then(|| {
            let line = ProgressBar::new_spinner();
            line.enable_steady_tick(SPINNER_TICK);
            line
        });
        Self {
            line,
            last: RefCell::default(),
        }
    }

    fn show(&self, status: &Status) {
        let now = activity(&status.activity);
        if let Some(line) = &self.line {
            let counts = format!("{} accepted · {} connected", status.accepted, status.peers);
            line.set_message(terminal::for_stderr(&format!(
                "{CYAN}{now}{CYAN:#} {DIM}· {counts}{DIM:#}"
            )));
            return;
        }
        // The log has the tasks already. The reason for having none is worth a line if it lasts.
        let (seen, written) = &mut *self.last.borrow_mut();
        if matches!(status.activity, Activity::Idle { .. }) && *seen == now && *written != now {
            eprintln!("{now}");
            written.clone_from(&now);
        }
        *seen = now;
    }

    fn clear(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}
