//! The proof of the readers: real exports, exports that are made to fit or to contradict each other, and exports that are made to hurt.

mod assemble;
mod files;
mod hostile;
mod recorded_hosts;
mod samples;
