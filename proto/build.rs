//! Compiles the .proto files with protox, so that nobody needs `protoc`.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use prost::Message;

/// Every file of the wire; a new one is added here.
const FILES: [&str; 5] = [
    "backstay/types/v1/types.proto",
    "backstay/types/v1/checkup.proto",
    "backstay/agent/v1/report.proto",
    "backstay/agent/v1/agent.proto",
    "backstay/operator/v1/operator.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    // For whoever asks a controller what it answers, without these files.
    #[expect(clippy::disallowed_methods, reason = "so cargo says where a build script writes")]
    let descriptors = Path::new(&env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?).join("descriptors.bin");
    fs::write(descriptors, files.encode_to_vec())?;
    // Maps in key order, as everywhere; a client learns its transport from the caller, who does the TLS.
    tonic_prost_build::configure().btree_map(".").build_transport(false).compile_fds(files)?;
    Ok(())
}
