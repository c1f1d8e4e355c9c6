//! What handlers take of a request.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
};

use axum::extract::{FromRequestParts, RawPathParams};
use http::{Uri, request::Parts};
use myriad_api::{JobState, Kind};
use myriad_core::JobId;

use super::listen::Client;
use crate::{
    board::{Board, Filter},
    intake::parse_id,
    refusal::Refusal,
};

/// The jobs of a part of the list, where the client names no number.
const LIMIT: usize = 100;
/// The most of them.
const LIMIT_MAX: usize = 1000;

/// The job that the path names.
pub(super) struct Id(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let named = match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => params
                .iter()
                .find(|(name, _)| *name == "id")
                .and_then(|(_, id)| parse_id(id)),
            Err(_) => None,
        };
        named.map(Self).ok_or_else(|| {
            Refusal::new(
                Kind::NotFound,
                "the path names no job: a job's id has 64 digits of lower-case hex; /v1/jobs lists all jobs",
            )
        })
    }
}

/// The address that the request came from.
pub(super) struct Peer(pub(super) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<Client>();
        // Requests without one are of tests, which need no connection.
        Ok(Self(client.map_or(Ipv4Addr::LOCALHOST.into(), |client| client.0)))
    }
}

/// The filter of a list: `state`, `before` and `limit`.
pub(super) fn filter(uri: &Uri) -> Result<Filter, Refusal> {
    let bad = |detail: String| Refusal::new(Kind::BadRequest, detail);
    let mut filter = Filter {
        state: None,
        before: None,
        limit: LIMIT,
    };
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let shown: String = value.chars().take(60).collect();
        match &*name {
            "state" => {
                let state = JobState::ALL.into_iter().find(|state| state.as_str() == value);
                filter.state = Some(state.ok_or_else(|| {
                    let states = JobState::ALL.map(JobState::as_str).join(", ");
                    bad(format!("state is {shown:?}; the states are {states}"))
                })?);
            }
            "before" => {
                if !Board::is_cursor(&value) {
                    return Err(bad(format!(
                        "before is {shown:?}; it is the `next` of the part of the list before this one"
                    )));
                }
                filter.before = Some(value.into_owned());
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                filter.limit = limit
                    .ok_or_else(|| bad(format!("limit is {shown:?}; it is a number of 1 to {LIMIT_MAX}")))?;
            }
            _ => {
                let name: String = name.chars().take(60).collect();
                return Err(bad(format!(
                    "the parameter {name:?} is not known: the list takes state, before and limit"
                )));
            }
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_what_is_wrong_with_one_is_said() {
        let of = |query: &str| filter(&format!("/v1/jobs{query}").parse().unwrap());
        let plain = of("").unwrap();
        assert_eq!((plain.state, plain.before, plain.limit), (None, None, LIMIT));
        let cursor = format!("12-{}", "0".repeat(64));
        let all = of(&format!("?state=done&before={cursor}&limit=7")).unwrap();
        assert_eq!(all.state, Some(JobState::Done));
        assert_eq!((all.before, all.limit), (Some(cursor), 7));
        for wrong in [
            "?state=over",
            "?limit=0",
            "?limit=1001",
            "?limit=x",
            "?limit=-1",
            "?page=2",
            "?before=a%2Fb",
        ] {
            let refusal = of(wrong).unwrap_err();
            assert_eq!(refusal.problem().kind, Kind::BadRequest, "{wrong}");
        }
    }
}
