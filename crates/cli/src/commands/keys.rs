//! `myriad keys`: the keys of the HTTP service.

use std::time::Duration;

use myriad_gateway::keys::{self, KeyFacts, Listed, NewKey, Quota};
use serde::Serialize;

use crate::{
    args::{AddKey, KeysCommand, ListKeys, RevokeKey},
    error::Error,
    settings::Settings,
    terminal::{self, CYAN, DIM, GREEN, YELLOW, bytes, count, duration, note, now_s},
};

pub fn run(command: KeysCommand) -> Result<(), Error> {
    match command {
        KeysCommand::Add(args) => add(&args),
        KeysCommand::List(args) => list(&args),
        KeysCommand::Revoke(args) => revoke(&args),
    }
}

fn add(args: &AddKey) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let new = NewKey {
        name: args.name.clone(),
        role: args.role.into(),
        quota: args.quota(),
    };
    let (secret, facts) = keys::add(&settings.data_dir, &new)?;
    if args.data.json {
        #[derive(Serialize)]
        struct Document<'a> {
            key: &'a str,
            #[serde(flatten)]
            facts: KeyFacts,
        }
        let key = secret.as_str();
        return terminal::print_json(&Document { key, facts }).map_err(Error::Stdout);
    }
    // Stdout has the key alone, for `KEY=$(myriad keys add ...)`.
    terminal::print(&format!("{}\n", secret.as_str())).map_err(Error::Stdout)?;
    note(format_args!(
        "this is the key `{}`, which cannot be shown again: whoever holds it {}",
        facts.name,
        allowed(&facts)
    ));
    Ok(())
}

/// What the holder of a key may do, after "whoever holds it".
fn allowed(facts: &KeyFacts) -> String {
    match facts.role {
        keys::Role::Read => "may look at everything".into(),
        keys::Role::Submit => format!("may submit and cancel jobs ({})", limits(facts.quota)),
    }
}

fn limits(quota: Quota) -> String {
    let limits = [
        quota
            .jobs
            .map(|jobs| format!("{} jobs at once", count(jobs.into()))),
        quota
            .upload_bytes_per_day
            .map(|size| format!("{} per day", bytes(size))),
        quota
            .requests_per_minute
            .map(|requests| format!("{} requests per minute", count(requests.into()))),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    match limits.is_empty() {
        true => "no limit".into(),
        false => limits.join(", "),
    }
}

/// A key in the JSON document.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Key(&'a KeyFacts),
    Refused { name: &'a str, error: &'a str },
}

impl<'a> From<&'a Listed> for Entry<'a> {
    fn from(listed: &'a Listed) -> Self {
        match &listed.key {
            Ok(facts) => Self::Key(facts),
            Err(error) => Self::Refused {
                name: &listed.name,
                error,
            },
        }
    }
}

fn list(args: &ListKeys) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let listed = keys::list(&settings.data_dir)?;
    if args.data.json {
        #[derive(Serialize)]
        struct Document<'a> {
            keys: Vec<Entry<'a>>,
        }
        let keys = listed.iter().map(Entry::from).collect();
        return terminal::print_json(&Document { keys }).map_err(Error::Stdout);
    }
    if listed.is_empty() {
        let dir = settings.data_dir.display();
        return terminal::print(&format!("no keys in {dir}\n")).map_err(Error::Stdout);
    }
    terminal::print(&listed.iter().map(line).collect::<String>()).map_err(Error::Stdout)
}

fn line(listed: &Listed) -> String {
    let name = &listed.name;
    let facts = match &listed.key {
        Ok(facts) => facts,
        Err(reason) => return format!("{CYAN}{name:24}{CYAN:#}  {YELLOW}refused{YELLOW:#}  {reason}\n"),
    };
    let (style, state, then) = match facts.revoked_ms {
        Some(revoked_ms) => (DIM, "revoked", revoked_ms),
        None => (GREEN, facts.role.as_str(), facts.made_ms),
    };
    let then = duration(Duration::from_secs(now_s().saturating_sub(then / 1000)));
    format!(
        "{CYAN}{name:24}{CYAN:#}  {}…  {style}{state:8}{style:#}  {}  {DIM}{then} ago{DIM:#}\n",
        facts.prefix,
        limits(facts.quota)
    )
}

fn revoke(args: &RevokeKey) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let facts = keys::revoke(&settings.data_dir, &args.name)?;
    if args.data.json {
        return terminal::print_json(&facts).map_err(Error::Stdout);
    }
    terminal::print(&format!(
        "revoked the key {}: a running service refuses it within two seconds, and its jobs continue\n",
        facts.name
    ))
    .map_err(Error::Stdout)
}
