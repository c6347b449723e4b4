//! The wire of Backstay: what agents, controllers and operators say to each other, and the way in and out of it.
//!
//! ```text
//!   policy::report::Report ──From──▶ agent::Report ══ bytes ══▶ agent::Report ──TryFrom──▶ policy::report::Report
//! ```
//!
//! * The `.proto` files are the contract. Fields and numbers are added, never changed; the messages that were released once
//!   are kept as bytes in a test.
//! * [`agent`], [`operator`] and [`types`] are generated from them. Generated types die at the border: only the code that holds
//!   a stream sees them, everything behind it knows the domain types of `policy`.
//! * Out of the domain is `From` and always succeeds. Into the domain is `TryFrom` and believes nothing: lists and texts have
//!   bounds, a number that no enum has is refused, and each refusal is an [`Invalid`](invalid::Invalid) that names the field. Both
//!   directions stand side by side and destructure fully, so that a new field does not compile until both have decided about it.
//! * [`signed`] is the signature over a document's bytes, [`token`] the one line with which a host joins, [`names`] what stands
//!   in certificates. They are here because agent and controller both need them and never know each other.
//!
//! Whoever serves or dials sets [`MAX_MESSAGE`] as the limit of decoding, and says [`PROTOCOL`] in the hello.
#![forbid(unsafe_code)]

pub mod checkup;
pub mod generation;
pub mod invalid;
pub mod names;
pub mod peers;
pub mod receipt;
pub mod report;
pub mod signed;
pub mod token;

/// The version of the conversation. It grows when an older peer could no longer follow.
pub const PROTOCOL: u32 = 1;

/// The largest message that is decoded, in bytes. The largest honest one is the report of a host with thousands of certificates,
/// a little over one MiB.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The `.proto` files, compiled: for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What agents and controllers say to each other: messages, and both ends of the two services.
pub mod agent {
    pub use crate::backstay::agent::v1::enrolment_service_client::EnrolmentServiceClient;
    pub use crate::backstay::agent::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
    pub use crate::backstay::agent::v1::session_service_client::SessionServiceClient;
    pub use crate::backstay::agent::v1::session_service_server::{SessionService, SessionServiceServer};
    pub use crate::backstay::agent::v1::*;
}

/// What operators ask of a controller: messages, and both ends of the service.
pub mod operator {
    pub use crate::backstay::operator::v1::operator_service_client::OperatorServiceClient;
    pub use crate::backstay::operator::v1::operator_service_server::{OperatorService, OperatorServiceServer};
    pub use crate::backstay::operator::v1::*;
}

/// Messages that agents and operators share.
pub mod types {
    pub use crate::backstay::types::v1::*;
}

/// As the packages are nested in the `.proto` files, because generated code refers from one to another by this path.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated: what there is to say stands in the .proto files"
)]
mod backstay {
    pub(crate) mod agent {
        pub(crate) mod v1 {
            tonic::include_proto!("backstay.agent.v1");
        }
    }
    pub(crate) mod operator {
        pub(crate) mod v1 {
            tonic::include_proto!("backstay.operator.v1");
        }
    }
    pub(crate) mod types {
        pub(crate) mod v1 {
            tonic::include_proto!("backstay.types.v1");
        }
    }
}
