//! Limits of the numbers of a profile, which no machine passes.

use super::{Cut, Measured, Profile, ProfileError, Program, SegmentSample};

/// The most entries of a list of measurements: a full profile has a few dozen.
pub const SAMPLES_MAX: usize = 10_000;
/// The most programs in a profile.
pub const PROGRAMS_MAX: usize = 64;
/// The most bytes of a name.
pub const NAME_BYTES_MAX: usize = 200;
/// The most threads of a task, and most cores of a machine.
pub const THREADS_MAX: u32 = 4096;
/// The most seconds of a task: a day.
pub const SECONDS_MAX: f64 = 86_400.0;
/// The most bytes of memory of a machine or process: 64 TiB.
pub const MEMORY_BYTES_MAX: u64 = 64 << 40;
/// The most instructions of a segment or of an execution that is measured.
pub const INSTRUCTIONS_MAX: u64 = 1 << 50;
/// The most of whatever is counted by the second. A core does 10^10 instructions, and memory moves
/// 10^12 bytes.
pub const RATE_MAX: f64 = 1e15;
/// The most children of a node of the tree: OpenVM's leaf takes 4.
pub const CHILDREN_MAX: u32 = 64;

impl Profile {
    /// Holds every number to its limits.
    ///
    /// # Errors
    /// [`ProfileError::Absurd`] or [`ProfileError::Missing`], which name the number at fault.
    pub fn validate(&self) -> Result<(), ProfileError> {
        name("name", &self.name)?;
        name("build", &self.build)?;
        name("machine.cpu", &self.machine.cpu)?;
        name("machine.system", &self.machine.system)?;
        if self.engine.len() != 64 || !self.engine.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(absurd(
                "engine",
                format!("{:?}", shortened(&self.engine)),
                "64 digits of hex",
            ));
        }
        whole("machine.cores", self.machine.cores.into(), 1, THREADS_MAX.into())?;
        whole(
            "machine.memory_bytes",
            self.machine.memory_bytes,
            1,
            MEMORY_BYTES_MAX,
        )?;
        rate("hash_bytes_per_s", self.hash_bytes_per_s)?;
        rate("disk.write_bytes_per_s", self.disk.write_bytes_per_s)?;
        rate("disk.read_bytes_per_s", self.disk.read_bytes_per_s)?;
        count("programs", self.programs.len(), PROGRAMS_MAX)?;
        for (index, program) in self.programs.iter().enumerate() {
            let at = format!("programs[{index}]");
            program.validate(&at)?;
            if self.programs[..index]
                .iter()
                .any(|other| other.name == program.name)
            {
                return Err(absurd(
                    &format!("{at}.name"),
                    format!("{:?} again", program.name),
                    "another one",
                ));
            }
        }
        Ok(())
    }
}

impl Program {
    fn validate(&self, at: &str) -> Result<(), ProfileError> {
        name(&format!("{at}.name"), &self.name)?;
        rate(
            &format!("{at}.execute_instructions_per_s"),
            self.execute_instructions_per_s,
        )?;
        rate(
            &format!("{at}.meter_instructions_per_s"),
            self.meter_instructions_per_s,
        )?;
        seconds(&format!("{at}.boundary_s"), self.boundary_s)?;
        count(&format!("{at}.cuts"), self.cuts.len(), SAMPLES_MAX)?;
        count(&format!("{at}.segments"), self.segments.len(), SAMPLES_MAX)?;
        count(&format!("{at}.nodes"), self.nodes.len(), SAMPLES_MAX)?;
        for (index, cut) in self.cuts.iter().enumerate() {
            let at = format!("{at}.cuts[{index}]");
            cut.validate(&at)?;
            if index > 0 && self.cuts[index - 1].budget_bytes >= cut.budget_bytes {
                return Err(absurd(
                    &format!("{at}.budget_bytes"),
                    cut.budget_bytes.to_string(),
                    "more than that of the cut before",
                ));
            }
        }
        for (index, sample) in self.segments.iter().enumerate() {
            sample.validate(&format!("{at}.segments[{index}]"))?;
        }
        for (index, sample) in self.nodes.iter().enumerate() {
            let at = format!("{at}.nodes[{index}]");
            whole(
                &format!("{at}.children"),
                sample.children.into(),
                1,
                CHILDREN_MAX.into(),
            )?;
            sample.measured.validate(&at)?;
        }
        Ok(())
    }
}

impl Cut {
    fn validate(&self, at: &str) -> Result<(), ProfileError> {
        whole(
            &format!("{at}.budget_bytes"),
            self.budget_bytes,
            1,
            MEMORY_BYTES_MAX,
        )?;
        whole(
            &format!("{at}.segments"),
            self.segments.into(),
            1,
            u32::MAX.into(),
        )?;
        whole(&format!("{at}.peak_bytes"), self.peak_bytes, 1, MEMORY_BYTES_MAX)?;
        number(
            &format!("{at}.instructions"),
            self.instructions,
            1.0,
            INSTRUCTIONS_MAX as f64,
        )?;
        number(&format!("{at}.cells"), self.cells, 1.0, INSTRUCTIONS_MAX as f64)?;
        number(
            &format!("{at}.interactions"),
            self.interactions,
            // Not every virtual machine counts them.
            0.0,
            INSTRUCTIONS_MAX as f64,
        )
    }
}

impl SegmentSample {
    fn validate(&self, at: &str) -> Result<(), ProfileError> {
        whole(
            &format!("{at}.budget_bytes"),
            self.budget_bytes,
            1,
            MEMORY_BYTES_MAX,
        )?;
        for (what, actual, least) in [
            ("instructions_before", self.instructions_before, 0),
            ("instructions", self.instructions, 1),
            ("cells", self.cells, 1),
            ("interactions", self.interactions, 0),
        ] {
            whole(&format!("{at}.{what}"), actual, least, INSTRUCTIONS_MAX)?;
        }
        self.measured.validate(at)
    }
}

impl Measured {
    fn validate(&self, at: &str) -> Result<(), ProfileError> {
        let at = format!("{at}.measured");
        whole(
            &format!("{at}.threads"),
            self.threads.into(),
            1,
            THREADS_MAX.into(),
        )?;
        seconds(&format!("{at}.wall_s"), self.wall_s)?;
        seconds(&format!("{at}.cpu_s"), self.cpu_s)?;
        seconds(&format!("{at}.verify_s"), self.verify_s)?;
        number(
            &format!("{at}.waited_s"),
            self.waited_s,
            0.0,
            SECONDS_MAX * f64::from(THREADS_MAX),
        )?;
        whole(&format!("{at}.peak_bytes"), self.peak_bytes, 1, MEMORY_BYTES_MAX)?;
        whole(
            &format!("{at}.proof_bytes"),
            self.proof_bytes,
            1,
            MEMORY_BYTES_MAX,
        )
    }
}

fn absurd(what: &str, actual: String, allowed: &str) -> ProfileError {
    ProfileError::Absurd {
        what: what.into(),
        actual,
        allowed: allowed.into(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn name(what: &str, text: &str) -> Result<(), ProfileError> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        let allowed = format!("1 to {NAME_BYTES_MAX} bytes without control characters");
        return Err(absurd(what, format!("{:?}", shortened(text)), &allowed));
    }
    Ok(())
}

fn count(what: &str, actual: usize, most: usize) -> Result<(), ProfileError> {
    match actual {
        0 => Err(ProfileError::Missing(format!("{what} is empty"))),
        _ if actual > most => Err(absurd(
            what,
            format!("a list of {actual}"),
            &format!("one of {most} at most"),
        )),
        _ => Ok(()),
    }
}

fn whole(what: &str, actual: u64, least: u64, most: u64) -> Result<(), ProfileError> {
    if (least..=most).contains(&actual) {
        return Ok(());
    }
    Err(absurd(what, actual.to_string(), &format!("{least} to {most}")))
}

fn number(what: &str, actual: f64, least: f64, most: f64) -> Result<(), ProfileError> {
    if (least..=most).contains(&actual) {
        return Ok(());
    }
    Err(absurd(what, actual.to_string(), &format!("{least} to {most}")))
}

fn rate(what: &str, actual: f64) -> Result<(), ProfileError> {
    number(what, actual, 1.0, RATE_MAX)
}

/// More than none: what takes no time was not measured.
fn seconds(what: &str, actual: f64) -> Result<(), ProfileError> {
    number(what, actual, 1e-9, SECONDS_MAX)
}
