//! Configuration: command line over environment over `.env` over default.
//!
//! `settings` is the table of all there is; `--help`, the reader and
//! `.env.example` follow it. Every value is read as a text and judged here, not
//! by clap, which would stop at the first bad one: whoever sets up a registry
//! sees all that is wrong at once, each with a cure. `sources` is the only
//! reader of the environment, and nothing writes to it.
//!
//! No room asks this one for anything. It fills their `Options`.

mod configuration;
mod directories;
mod load;
mod options;
mod problems;
mod report;
pub mod settings;
mod sources;
mod values;

pub use configuration::{Config, Database, InitialAdmin, PublicUrl};
pub use directories::{Create, Disk, Look};
pub use load::Loaded;
pub use problems::{Problem, Problems};
pub use report::Row;
pub use sources::{Flags, Origin, Sources};
