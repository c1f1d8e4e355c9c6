//! The list of jobs.

use myriad_api::{Job, JobList, JobState};

use crate::{Error, connection::Connection};

/// Jobs that are asked for at once.
const PAGE: usize = 100;

/// The jobs of a service, page by page.
pub struct Jobs {
    connection: Connection,
    state: Option<JobState>,
    page: std::vec::IntoIter<Job>,
    /// Where the next page begins: nowhere after the last one, and at the newest job at first.
    next: Option<Option<String>>,
}

impl Jobs {
    pub(crate) fn new(connection: Connection, state: Option<JobState>) -> Self {
        Self {
            connection,
            state,
            page: Vec::new().into_iter(),
            next: Some(None),
        }
    }

    fn turn(&mut self, before: Option<&str>) -> Result<(), Error> {
        let mut path = format!("/v1/jobs?limit={PAGE}");
        if let Some(state) = self.state {
            path += &format!("&state={}", state.as_str());
        }
        if let Some(before) = before {
            path += &format!("&before={}", escaped(before));
        }
        let list: JobList = self.connection.document(&path)?;
        // A page that is empty, or that leads to itself, would never come to an end.
        if list.next.is_some() && (list.jobs.is_empty() || list.next.as_deref() == before) {
            return Err(Error::Malformed {
                url: self.connection.at(&path),
                reason: "a page of the list has no job, and another one after it".into(),
            });
        }
        self.page = list.jobs.into_iter();
        self.next = list.next.map(Some);
        Ok(())
    }
}

impl Iterator for Jobs {
    type Item = Result<Job, Error>;

    /// After an error, there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(job) = self.page.next() {
                return Some(Ok(job));
            }
            let before = self.next.take()?;
            if let Err(error) = self.turn(before.as_deref()) {
                return Some(Err(error));
            }
        }
    }
}

/// A value in a query.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lead_to_no_other_query() {
        assert_eq!(escaped("a-1&limit=9/é"), "a-1%26limit%3D9%2F%C3%A9");
    }
}
