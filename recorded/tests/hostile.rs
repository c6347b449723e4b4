//! No bytes may panic a reader or keep it busy: not cut, not flipped, not random, not made to hurt.

use base64::Engine;
use proptest::prelude::*;
use recorded::export::Content;
use recorded::serialized::Serialized;

use crate::files::{Export, read};

/// One small export of each kind, all of one server.
fn samples() -> Vec<Vec<u8>> {
    let object = |kind: &str, members: &str| {
        format!("\u{feff}<Objs><Obj RefId=\"0\"><TN RefId=\"0\"><T>{kind}</T></TN><Props>{members}</Props></Obj></Objs>")
    };
    let blob = base64::engine::general_purpose::STANDARD.encode(
        [b"\x0f\x03\0\0\0\x14\0\0\0\x02".as_slice(), b"\x20\0\0\0\x01\0\0\0\x08\0\0\0", b"\x30\x06\x02\x01\x01\x02\x01\x02"]
            .concat(),
    );
    [
        object(
            "Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate",
            &format!("<BA N=\"SerializationData\">{blob}</BA><S N=\"PSComputerName\">ex1_x002E_contoso.test</S>"),
        ),
        object(
            "Microsoft.Exchange.Data.Directory.Management.ExchangeServer",
            "<S N=\"Name\">EX1</S><S N=\"AdminDisplayVersion\">Version 15.1 (Build 2507.6)</S><Ref N=\"Site\" RefId=\"0\"/>",
        ),
        object(
            "Microsoft.IIs.PowerShell.Framework.ConfigurationElement",
            "<S N=\"protocol\">https</S><S N=\"bindingInformation\">*:444:</S><I64 N=\"sslFlags\">0</I64>\
             <S N=\"certificateHash\">B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B</S>\
             <S N=\"ItemXPath\">/site[@name='Exchange Back End' and @id='2']</S>",
        ),
        object(
            "Microsoft.Exchange.Monitoring.ExchangeServicesStatus",
            "<Obj N=\"ServicesRunning\"><LST><S>W3Svc</S></LST></Obj><DT N=\"at\">2021-09-28T12:20:23-05:00</DT>",
        ),
        "<?xml version=\"1.0\"?><!-- x --><configuration><system.applicationHost><customMetadata><key path=\"LM/W3SVC/2\">\
         <property id=\"5506\" value=\"oXiHOzFAMOF0YxIuI7soWvDFEzg=\"/></key></customMetadata><sites><site name=\"a&#xA;&amp;\" id=\"2\">\
         <bindings><binding protocol=\"https\" bindingInformation=\"*:444:\"/></bindings></site></sites></system.applicationHost></configuration>"
            .to_owned(),
        "SSL Certificate bindings:\n-----\n\n    IP:port                      : 0.0.0.0:444\n    Certificate Hash             : \
         823884a32609dcdc8c4b5462952586c30d814073\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    \
         Certificate Store Name       : My\n    A : Enabled\n    B : Disabled\n    C : Enabled\n    D : 0\n    E : 0\n    F : (null)\n    \
         G : (null)\n    H : Disabled\n    I : Disabled\n"
            .to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}

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
