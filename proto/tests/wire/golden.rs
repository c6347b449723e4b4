//! The bytes of released messages. A test here that fails has found a change of the wire: older agents would not understand
//! it. Fields and numbers are added, never changed; then these bytes stay.

use std::fmt::{Debug, Write as _};

use prost::Message;
use proto::{agent, types};

use crate::sample;

fn same_bytes<M: Message + Default + PartialEq + Debug>(name: &str, message: &M, golden: &str) {
    let hex = message.encode_to_vec().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes every character");
        hex
    });
    let golden: String = golden.split_ascii_whitespace().collect();
    assert_eq!(hex, golden, "{name} is written with other bytes than it was released with");
    let bytes: Vec<u8> = (0..golden.len() / 2)
        .map(|index| u8::from_str_radix(&golden[2 * index..2 * index + 2], 16).expect("hexadecimal digits"))
        .collect();
    assert_eq!(M::decode(bytes.as_slice()).expect("released bytes"), *message, "{name} is read as something else");
}

#[test]
fn a_hello_is_written_as_it_was_released() {
    let hello = agent::Hello {
        protocol: proto::PROTOCOL,
        server: "EX1".to_owned(),
        machine_id: "6f9d3c9e-0001".to_owned(),
        agent_version: "0.1.0".to_owned(),
        lineage: vec![0x51; 4],
        held: Some(agent::Held {
            trust: vec![0x61; 4],
            trust_version: 1,
            policy: vec![0x62; 4],
            policy_version: 2,
            stops: Vec::new(),
        }),
        acknowledged: Some(types::Generation { epoch: 3, counter: 4 }),
        digest: vec![0x71; 4],
        now: 1_795_000_000_000_001,
        running: vec![0x11; 4],
        audit_sequence: 5,
        audit_head: vec![0x81; 4],
    };
    let request = agent::OpenRequest { message: Some(agent::open_request::Message::Hello(hello)) };
    same_bytes("a hello", &request, HELLO);
}

#[test]
fn a_receipt_is_written_as_it_was_released() {
    let receipt = types::Receipt::from(sample::receipt());
    let request = agent::OpenRequest { message: Some(agent::open_request::Message::Receipt(receipt)) };
    same_bytes("a receipt", &request, RECEIPT);
}

#[test]
fn a_report_is_written_as_it_was_released() {
    let message = agent::ReportMessage {
        generation: Some(types::Generation { epoch: 3, counter: 5 }),
        report: Some(sample::report().into()),
        decision: "leave alone".to_owned(),
        seen_at: 1_795_000_000_000_001,
        memory: Vec::new(),
    };
    let request = agent::OpenRequest { message: Some(agent::open_request::Message::Report(message)) };
    same_bytes("a report", &request, REPORT);
}

#[test]
fn an_offer_and_its_signature_are_written_as_they_were_released() {
    let signature = types::Signature { key: vec![0x91; 4], signature: vec![0x92; 4] };
    let approval = types::Signed { body: b"{}".to_vec(), signatures: vec![signature] };
    let offer = agent::Offer { plan: b"plan".to_vec(), approvals: vec![approval] };
    let response = agent::OpenResponse { message: Some(agent::open_response::Message::Offer(offer)) };
    same_bytes("an offer", &response, OFFER);
}

const HELLO: &str = "
    0a58080112034558311a0d36663964336339652d303030312205302e312e302a045151515132100a046161616110011a046262626220023a04080310
    044204717171714881e0fc8ab09198035204111111115805620481818181
";

const RECEIPT: &str = "
    2aab010a20111111111111111111111111111111111111111111111111111111111111111110041a066c6f6f6b6564221a7265636f726420302e302e
    302e303a343433206368616e6765642a027b7d322022222222222222222222222222222222222222222222222222222222222222223881e0fc8ab091
    98034082e0fc8ab091980348dc0b52260a0b6c656176655f616c6f6e65120e66697420756e74696c2032303331188080b1c4e2bbb503
";

const REPORT: &str = "
    1296070a040803100512f7060a540a0345583112120a106578312e636f6e746f736f2e746573741a0f0a0d36663964336339652d30303031221e121c
    6e6f20646f6d61696e20636f6e74726f6c6c657220616e73776572732a080a060a044441473112130a110a0b31352e312e323530372e36120201021a
    0f0a0d1a0b4d61696c626f78526f6c652286010a83010a80010a0208011220a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
    a1a1a11a14b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b220012a160a140a124d6963726f736f66742045786368616e6765320e0a0c0a0a0a0263
    31180c202028013a02080142140a120a100a08532d312d352d3230108981c880082a2c0a2a0a280a02633112220a20c3c3c3c3c3c3c3c3c3c3c3c3c3
    c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3326c0a6a0a680801120b302e302e302e303a3434341a14b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
    b2b222024d592a280a267b34646333653138312d653134622d346132312d623032322d3539666336363962303931347d32130a110801100218032203
    63746c2a02434130043a300a2e0a2c0802121145786368616e6765204261636b20456e641a110a05687474707312062a3a3434343a18012202080142
    2a0a280a260a0a4c4d2f57335356432f321214b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b21a024d594a200a1e0a1c0a05573353564312020801
    1a0f120d6163636573732064656e696564522708bc0310011a20a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a15211
    08bc031003320a6e6f20616464726573735a0d68656c6420627920616c6963656288020a090880c097d1edff9603120208051a210a1f0a1d53657276
    6572576964654f66666c696e6520697320696e616374697665220b0a09088080cddde8dc94032a090a070a0566696c6573321a0a180a160a144d5345
    786368616e67654f5741417070506f6f6c3a180a160a0b0a07544c5320312e3210011080a0b297abee950342180a160a14c1c1c1c1c1c1c1c1c1c1c1
    c1c1c1c1c1c1c1c1c14a180a160a14c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2520e0a0c636f6e746f736f2e746573745a420a400a3e088082
    ef80eeff960310051a14c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3220b302e302e302e303a3434342a076d6d632e657865320561646d696e1a
    0b6c6561766520616c6f6e652081e0fc8ab0919803
";

const OFFER: &str = "
    1a1a0a04706c616e12120a027b7d120c0a0491919191120492929292
";
