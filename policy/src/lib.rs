//! The mind of Backstay: what an Exchange host looks like, what is wanted of it, and what may be done about it.
//!
//! Everything here is a function of its arguments. There is no clock (`now` is passed in), no file, no socket and
//! no random source, so that the same judgement can be made on the agent, on the controller, on an administrator's
//! workstation from exported files, and a million times in a simulation.
//!
//! The words, in the order in which data moves through them:
//!
//! * A [`Report`](report::Report) is what one host saw, whole. It names certificates by their SHA-256; a
//!   [`Sight`](report::Sight) is a report together with the certificates that it names.
//! * A fact that could not be read is [`Fact::Unknown`](report::Fact) with the reason. Unknown never permits anything.
//! * [`LastKnown`](last::LastKnown) remembers the last good state of port 444 and since when it is lost.
//! * [`evaluate`](evaluate::evaluate) turns sight and memory into [findings](finding::Finding) and one
//!   [`Verdict`](finding::Verdict).
//! * [`decide`](decide::decide) says what the [`Policy`](document::Policy) allows: a [`Plan`](plan::Plan) made of typed
//!   steps with what each expects to find, and under whose authority it may run; or why there is none.
//! * [`admit`](admit::admit) is asked once more, on the host, the moment before a plan begins.
//! * [`next_look`](look::next_look) says when time alone may change these answers.
//! * [`Turns`](turn::Turns) says whose turn it is when many servers want one.
//! * [`Life`](life::Life) is the life of a plan as the controller keeps it.
//!
//! The rule above all others (P1): a back-end certificate that is present, bound, usable, fit and outside its expiry
//! window is left alone.
#![forbid(unsafe_code)]

pub mod admit;
pub mod bound;
pub mod certificate;
pub mod checkup;
pub mod decide;
pub mod document;
pub mod duration;
pub mod evaluate;
pub mod finding;
pub mod forecast;
pub mod id;
pub mod last;
pub mod life;
pub mod look;
pub mod peers;
pub mod plan;
pub mod preflight;
pub mod receipt;
pub mod report;
pub mod schedule;
pub mod stop;
pub mod trust;
pub mod turn;
pub mod window;

pub use jiff::Timestamp;
