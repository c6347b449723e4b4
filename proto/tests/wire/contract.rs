//! Everything that may be said, one line each: fields with their numbers and types, enum values, calls. `contract.txt` keeps
//! what was released, so that a reviewer sees a change of the wire as a change of lines. Lines are added; none is lost.

use std::collections::BTreeSet;
use std::path::Path;

use protox::prost_reflect::{Cardinality, DescriptorPool, Kind};

#[test]
fn the_contract_says_what_it_said() {
    let said: BTreeSet<String> = include_str!("contract.txt").lines().map(str::to_owned).collect();
    let says = lines(&compiled());
    let lost: Vec<_> = said.difference(&says).collect();
    let new: Vec<_> = says.difference(&said).collect();
    assert!(
        lost.is_empty(),
        "peers that were built before would misunderstand; put back: {lost:#?}\n(new beside them: {new:#?})"
    );
    assert!(new.is_empty(), "add these lines to proto/tests/wire/contract.txt: {new:#?}");
}

fn compiled() -> DescriptorPool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([root]).expect("the folder of the .proto files");
    compiler.include_imports(true);
    compiler
        .open_files(["backstay/agent/v1/agent.proto", "backstay/operator/v1/operator.proto"])
        .expect("the .proto files compile, as they did in build.rs");
    compiler.descriptor_pool()
}

fn lines(pool: &DescriptorPool) -> BTreeSet<String> {
    let fields = pool.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>()).map(|field| {
        let label = match (field.containing_oneof(), field.cardinality()) {
            (_, Cardinality::Repeated) => "repeated ".to_owned(),
            (Some(oneof), _) => format!("oneof {} ", oneof.name()),
            (None, Cardinality::Optional | Cardinality::Required) => String::new(),
        };
        format!("{} = {} {label}{}", field.full_name(), field.number(), kind(&field.kind()))
    });
    let values = pool.all_enums().flat_map(|one| {
        let name = one.full_name().to_owned();
        one.values().map(|value| format!("{name}.{} = {}", value.name(), value.number())).collect::<Vec<_>>()
    });
    let calls = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).map(|method| {
        let stream = |streams: bool| if streams { "stream " } else { "" };
        let (asks, answers) = (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
        format!("{}({asks}{}) {answers}{}", method.full_name(), method.input().full_name(), method.output().full_name())
    });
    fields.chain(values).chain(calls).collect()
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(one) => one.full_name().to_owned(),
        Kind::Double
        | Kind::Float
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::Bool
        | Kind::String
        | Kind::Bytes => format!("{kind:?}"),
    }
}
