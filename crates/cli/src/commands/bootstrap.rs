//! `myriad bootstrap`: a node through which other nodes find each other.

use std::time::Duration;

use myriad_net::{Event, Network, peer_name, wire::Role};

use crate::{
    args::Bootstrap,
    error::Error,
    network::{log, net_config, on_signal, runtime, wait_for_address},
    settings::Settings,
    terminal,
};

/// Lines about peers in a minute. The others are counted: anybody can come and leave without end.
const LINES_MAX: u32 = 60;

/// The lines of one minute.
#[derive(Default)]
struct Lines {
    /// Those that there could have been.
    count: u32,
}

impl Lines {
    /// Whether one more is shown.
    fn has_room(&mut self) -> bool {
        self.count = self.count.saturating_add(1);
        self.count <= LINES_MAX
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        if self.has_room() {
            eprintln!("{line}");
        }
    }

    /// The number of lines that were not shown, if there were any.
    fn next_minute(&mut self) -> Option<u32> {
        let others = std::mem::take(&mut self.count).saturating_sub(LINES_MAX);
        (others > 0).then_some(others)
    }
}

pub fn run(args: &Bootstrap) -> Result<(), Error> {
    #[derive(serde::Serialize)]
    struct Flags<'a> {
        #[serde(flatten)]
        net: &'a crate::args::NetFlags,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_dir: &'a Option<std::path::PathBuf>,
    }
    let settings = Settings::load(&Flags {
        net: &args.net,
        data_dir: &args.data_dir,
    })?;
    log("info");
    // It serves no blobs; the little that is there costs nothing.
    let config = net_config(
        &settings,
        &settings.data_dir.join("bootstrap"),
        Role::Bootstrap,
        0,
    )?;
    runtime()?.block_on(async {
        let (network, mut events) = Network::start(config)?;
        for address in wait_for_address(&network).await? {
            terminal::note(format_args!(
                "other nodes reach this one with --bootstrap {address}"
            ));
        }
        let mut stop = std::pin::pin!(on_signal());
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        let mut lines = Lines::default();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Greeted { peer, hello, .. }) => {
                        lines.say(format_args!("{} came ({:?}, {})", peer_name(peer), hello.role, hello.build));
                    }
                    Some(Event::Lost { peer }) => lines.say(format_args!("{} left", peer_name(peer))),
                    Some(_) => {}
                    None => return Ok(()),
                },
                _ = minute.tick() => if let Some(others) = lines.next_minute() {
                    eprintln!("{others} more came or left within a minute");
                },
                () = &mut stop => return Ok(()),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_come_and_leave_without_end_have_few_lines() {
        let mut lines = Lines::default();
        let shown = |lines: &mut Lines, count| (0..count).filter(|_| lines.has_room()).count() as u32;
        assert_eq!(shown(&mut lines, 1000), LINES_MAX);
        assert_eq!(lines.next_minute(), Some(1000 - LINES_MAX));
        assert_eq!(shown(&mut lines, LINES_MAX), LINES_MAX);
        assert_eq!(lines.next_minute(), None);
    }
}
