//! Everything a test needs so that it is only its point.
//!
//! [`TestRegistry`] is a server of its own or one that tests share; a [`Client`] is
//! somebody who speaks HTTP to it; a [`Reply`] is what came back, already held
//! against the rules that every reply must keep ([`rules`]). [`Raw`] is for what no
//! honest HTTP library would send.

mod client;
mod command;
mod content;
mod database;
mod http2;
mod process;
mod raw;
mod registry;
mod reply;
mod rules;
mod token;

pub(crate) use client::{Client, basic, with_query};
pub(crate) use command::{Output, distribution};
pub(crate) use content::{
    DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, Image, Manifest, OCTETS, descriptor, sha256,
    sha512, unique, unique_name, unique_text,
};
pub(crate) use http2::Http2;
pub(crate) use raw::Raw;
pub(crate) use registry::TestRegistry;
pub(crate) use reply::{REQUEST_ID, Reply};
pub(crate) use token::{Challenge, claims, forge};
