//! No bytes may panic a reader or keep it busy: not cut, not flipped, not random, not made to hurt.

use std::error::Error;

use policy::certificate::MAX_DER;
use proptest::prelude::*;
use recorded::export::{Content, ReadError};
use recorded::serialized::{Serialized, SerializedError};

use crate::files::{Export, read};
use crate::samples::samples;

fn all(samples: Vec<Vec<u8>>) -> Vec<Export> {
    samples.into_iter().enumerate().map(|(at, bytes)| Export { name: at.to_string(), bytes }).collect()
}

fn wide(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn the_samples_are_what_they_should_be() {
    for (at, sample) in samples().into_iter().enumerate() {
        let content = Content::read(&sample).unwrap_or_else(|error| panic!("sample {at}: {error:?}"));
        assert_eq!(Content::read(&wide(&sample)).expect("as UTF-16"), content);
    }
}

#[test]
fn what_points_into_something_that_is_passed_over_is_read_all_the_same() {
    let server = |members: &str| {
        format!(
            "<Objs><Obj RefId='0'><TN RefId='0'><T>Microsoft.Exchange.Data.Directory.Management.ExchangeServer</T></TN><Props>{members}\
             <S N='Name'>EX1</S></Props></Obj></Objs>"
        )
    };
    let state = "<Obj N='ObjectState' RefId='1'><TN RefId='1'><T>A</T></TN><ToString>Berlin</ToString></Obj>";
    let texts = [
        server(&format!("{state}<Ref N='Site' RefId='1'/>")),
        server(&format!("{state}<Obj N='Site' RefId='2'><TNRef RefId='1'/><ToString>Berlin</ToString></Obj>")),
        server("<BA N='Blob'>!</BA><Obj N='Odd'><S N='Name'>EX2</S></Obj><S>EX3</S>"),
    ];
    for text in texts.map(String::into_bytes).into_iter().chain(samples()).filter(|text| !text.starts_with(b"SSL")) {
        let read = Content::read(&text);
        assert!(read.is_ok(), "{read:?}");
        assert_eq!(read, Content::read_whole(&text));
    }
}

#[test]
fn every_truncation_ends_in_an_answer() {
    for sample in samples() {
        for end in 0..sample.len() {
            let _ = Content::read(&sample[..end]);
            let _ = Content::read(&wide(&sample)[..end]);
        }
    }
}

#[test]
fn every_flipped_bit_ends_in_an_answer() {
    for sample in samples() {
        for at in 0..sample.len() {
            for bit in 0..8 {
                let mut flipped = sample.clone();
                flipped[at] ^= 1 << bit;
                let _ = Content::read(&flipped);
            }
        }
    }
}

/// Inputs of a megabyte, each made against one reader. They are read in well under a second; a reader that takes the
/// square of their length would be noticed.
#[test]
fn inputs_made_to_hurt_are_answered() {
    let many = 200_000;
    let hostile = [
        "<Objs>".repeat(many),
        format!("<Objs>{}</Objs>", "<Obj>".repeat(many)),
        format!("<Objs>{}</Objs>", "<Nil/>".repeat(many)),
        format!("<Objs><S>{}</S></Objs>", "_x000D_".repeat(many)),
        format!("<Objs><S>{}</S></Objs>", "&#65;".repeat(many)),
        format!("<a {}/>", "b=\"\" ".repeat(many)),
        format!("<a b=\"{}\"/>", "&lt;".repeat(many)),
        format!("<!DOCTYPE a [{}]><a/>", "<!ENTITY b \"c\">".repeat(many)),
        format!("<!--{}", "-".repeat(many)),
        "a : 0.0.0.0:444\n".repeat(many),
        format!("SSL Certificate bindings:\n{}", "a : 0.0.0.0:444\nb : (null)\n".repeat(many)),
        " : ".repeat(many),
    ];
    for text in hostile {
        let _ = Content::read(text.as_bytes());
    }
    let arrays = b"\x0f\x03\0\0\0\x40\0\0\0\x02\x01\0\0\0\x01\0\0\0\0\0\0\0".repeat(50_000);
    assert!(Serialized::find(&arrays).is_err());
}

/// An `Export-Clixml` file: a list of one type's objects behind one that the others name.
fn naming(kind: &str, named: &str, times: usize, members: &str) -> Vec<u8> {
    let object = format!("<Obj><TNRef RefId=\"0\"/><Props>{members}</Props></Obj>");
    format!("<Objs><Obj RefId=\"0\"><TN RefId=\"0\"><T>{kind}</T></TN>{named}</Obj>{}</Objs>", object.repeat(times)).into_bytes()
}

#[test]
fn what_is_written_once_and_named_ten_thousand_times_is_refused() {
    let large = "x,".repeat(250_000);
    let site = naming(
        "Microsoft.Exchange.Data.Directory.Management.ExchangeServer",
        &format!("<Props><S N=\"Name\">EX1</S><Obj N=\"Site\" RefId=\"1\"><ToString>{large}</ToString></Obj></Props>"),
        3000,
        "<S N=\"Name\">EX1</S><Ref N=\"Site\" RefId=\"1\"/><Ref N=\"ServerRole\" RefId=\"1\"/>",
    );
    let services = naming(
        "Microsoft.Exchange.Monitoring.ExchangeServicesStatus",
        &format!("<Props><Obj N=\"ServicesRunning\" RefId=\"1\"><LST>{}</LST></Obj></Props>", "<S>x</S>".repeat(60_000)),
        3000,
        "<Ref N=\"ServicesRunning\" RefId=\"1\"/>",
    );
    let items = naming(
        "Microsoft.Exchange.Monitoring.ExchangeServicesStatus",
        &format!(
            "<ToString>{large}</ToString><Props><Obj N=\"ServicesRunning\"><LST>{}</LST></Obj></Props>",
            "<Ref RefId=\"0\"/>".repeat(20_000)
        ),
        1,
        "",
    );
    for file in [site, services, items] {
        assert!(file.len() < 1024 * 1024);
        let Err(ReadError::Clixml(error)) = Content::read(&file) else { panic!("it is read") };
        assert!(error.to_string().ends_with("the same ones are named over and over"), "{error}");
    }
}

#[test]
fn an_object_that_was_exported_twice_is_read_once() {
    let server = "<Obj RefId=\"0\"><TN><T>Microsoft.Exchange.Data.Directory.Management.ExchangeServer</T></TN>\
                  <Props><S N=\"Name\">EX1</S></Props></Obj>";
    let file = format!("<Objs>{server}{}</Objs>", "<Ref RefId=\"0\"/>".repeat(1000));
    let Ok(Content::Servers(servers)) = Content::read(file.as_bytes()) else { panic!("a list of servers") };
    assert_eq!(servers.listed.len(), 1);
}

#[test]
fn arrays_that_overlap_and_are_nearly_certificates_are_not_all_digested() {
    // Each array announces a property that reaches to the common end, where a whole certificate contradicts its own digest.
    let property = |id: u32, length: usize| {
        [id, 1, u32::try_from(length).expect("short")].iter().flat_map(|field| field.to_le_bytes()).collect::<Vec<_>>()
    };
    let array =
        |length: usize| [b"\x0f\0\0\0\0".as_slice(), &u32::try_from(length).expect("short").to_le_bytes(), b"\x02"].concat();
    let body = vec![0x30; MAX_DER];
    let end = [property(3, 20), vec![7; 20], property(32, body.len()), body].concat();
    let each = array(0).len() + property(0, 0).len();
    let arrays: usize = 1000;
    let near = |count: usize| -> Vec<u8> {
        let parts = (0..count).map(|at| {
            let between = (count - 1 - at) * each;
            [array(12 + between + end.len()), property(9, between)].concat()
        });
        [parts.collect::<Vec<_>>().concat(), end.clone()].concat()
    };
    let good = [property(32, 3), b"DER".to_vec()].concat();
    let good = [array(good.len()), good].concat();
    let behind = |count: usize| Serialized::find(&[near(count), good.clone()].concat());
    assert_eq!(behind(3).map(|found| found.der), Ok(b"DER".to_vec()), "a few are passed over");
    assert!(matches!(behind(arrays), Err(SerializedError::Thumbprint { .. })), "so many are no accident");
}

/// A text that grows at the front of many children. Looked at again at each of them it would take minutes.
#[test]
fn white_space_before_many_children_is_looked_at_once() {
    let text = format!("<Objs><S/>{}x{}</Objs>", " ".repeat(500_000), "<S/> ".repeat(100_000));
    assert!(matches!(Content::read(text.as_bytes()), Err(ReadError::OtherObjects { .. })));
}

/// A message is for people: of what was found it shows the beginning.
#[test]
fn no_message_is_as_long_as_the_file() {
    let long = "x".repeat(100_000);
    for text in [
        format!("<{long}/>"),
        format!("<{long}>"),
        format!("<a></{long}>"),
        format!("<a>&{long};</a>"),
        format!("<a b='&{long};'/>"),
        format!("<Objs><Obj><TN><T>{long}</T></TN></Obj></Objs>"),
        format!("<Objs><Ref RefId='{long}'/></Objs>"),
        format!("<Objs><Obj><TNRef RefId='{long}'/></Obj></Objs>"),
        format!("<Objs><B>{long}</B></Objs>"),
    ] {
        let error = Content::read(text.as_bytes()).expect_err("no export");
        let (mut told, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            told.push_str(&format!(": {error}"));
            cause = error.source();
        }
        assert!(told.len() < 1000, "{} … is told in {} bytes", &text[..20], told.len());
    }
}

#[test]
fn a_file_that_is_none_of_these_is_named_with_its_reason() {
    for (bytes, reason) in [
        (b"".as_slice(), "expected an export in XML or the text of `netsh http show sslcert`, found neither"),
        (b"MZ\x90\0\x03", "expected text"),
        (b"<html><p>", "expected an export in XML"),
        (b"<html/>", "expected an export of PowerShell's Export-Clixml"),
        (b"<configuration/>", "expected applicationHost.config"),
        (b"<!DOCTYPE a><a/>", "expected an export in XML"),
    ] {
        assert_eq!(Content::read(bytes).expect_err("no export").to_string(), reason);
    }
    let other = Content::read(b"<Objs><Obj><TN><T>System.Diagnostics.Process</T></TN></Obj></Objs>").expect_err("other objects");
    assert!(other.to_string().ends_with("found System.Diagnostics.Process"), "{other}");
    assert!(Content::read(b"<Objs/>").expect_err("nothing").to_string().ends_with("the command gave no output"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Content::read(&bytes);
        let _ = Serialized::find(&bytes);
        let _ = Serialized::read(&bytes);
    }

    #[test]
    fn pieces_of_exports_in_any_order_never_panic(
        pieces in proptest::collection::vec((0..6_usize, 0..2000_usize, 0..2000_usize), 1..8),
    ) {
        let samples = samples();
        let mut bytes = Vec::new();
        for (sample, begin, end) in pieces {
            let sample = &samples[sample];
            bytes.extend_from_slice(&sample[begin.min(sample.len())..end.clamp(begin.min(sample.len()), sample.len())]);
        }
        let _ = Content::read(&bytes);
    }

    #[test]
    fn a_damaged_folder_is_assembled_or_refused(
        damage in proptest::collection::vec((0..6_usize, 0..2000_usize, any::<u8>()), 0..12),
    ) {
        let mut samples = samples();
        for (sample, at, byte) in damage {
            if let Some(slot) = samples[sample].get_mut(at) {
                *slot = byte;
            }
        }
        for assembly in read(&all(samples)).assemble(None).into_iter().flatten() {
            // A report made of anything can be kept and sent.
            let _ = assembly.sight.report.digest();
        }
    }
}
