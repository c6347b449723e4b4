//! What is said on the wire comes back the same, what is wrong is refused by the name of its field, and what was released stays.

mod bounds;
mod checkup;
mod contract;
mod golden;
mod hostile;
mod round_trip;
mod sample;
mod strategy;
