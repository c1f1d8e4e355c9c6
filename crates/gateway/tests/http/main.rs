//! The service over HTTP, as its clients see it, well-behaved and other ones.

mod client;
mod done;
mod encrypted;
mod hostile;
mod noise;
mod routes;
mod shares;
mod site;
mod sites;
mod streams;
mod submissions;
mod typed;
mod uploads;
