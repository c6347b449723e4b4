//! Writes what the fuzzing of each target begins with into `corpus/TARGET`: the samples that the tests use, so that no file of a
//! real server is needed.

use std::path::Path;

use base64::Engine;
use policy::Timestamp;

#[path = "../../../policy/tests/stage/der.rs"]
mod der;
#[path = "../../tests/samples.rs"]
mod samples;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

fn main() -> std::io::Result<()> {
    let samples: Vec<Vec<u8>> = samples::samples().into_iter().chain([listing(), redirection(), auth()]).collect();
    let folder = samples.join(&0x1c);
    let certificates = certificates();
    let documents =
        [include_bytes!("../../../deploy/policy.example.toml").to_vec(), b"estate = \"contoso\"\nversion = 1\n".to_vec()];
    let serialized = certificates.iter().flat_map(|der| [element(der), blob(der)]).collect::<Vec<_>>();
    let seeds: [(&str, &[Vec<u8>]); 5] = [
        ("content", &samples),
        ("serialized", &serialized),
        ("assemble", &[samples.as_slice(), &[folder]].concat()),
        ("certificate", &certificates),
        ("document", &documents),
    ];
    for (target, seeds) in seeds {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

fn certificates() -> Vec<Vec<u8>> {
    let own = der::Recipe {
        names: vec!["EX1".to_owned(), "ex1.contoso.test".to_owned()],
        issuer: None,
        from: at("2024-03-01T08:00:00Z"),
        to: at("2029-03-01T08:00:00Z"),
        sha1: true,
        key: "own".to_owned(),
        signs: true,
    };
    let issued = der::Recipe { issuer: Some("CA".to_owned()), to: at("2051-01-01T00:00:00Z"), sha1: false, ..own.clone() };
    vec![own.bake().der().to_vec(), issued.der()]
}

fn property(id: u32, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short");
    [&id.to_le_bytes(), &1_u32.to_le_bytes(), &length.to_le_bytes(), value].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Friendly name, key link and certificate, as Windows writes them one after another.
fn element(der: &[u8]) -> Vec<u8> {
    let link: Vec<u8> = [28_u32, 0, 12, 0x20, 0, 0, 1].iter().flat_map(|field| field.to_le_bytes()).collect();
    [property(11, &utf16("Exchange")), property(2, &[link, utf16("be-key")].concat()), property(32, der)].concat()
}

/// The same in a .NET blob, with the IIS site that uses it.
fn blob(der: &[u8]) -> Vec<u8> {
    let element = element(der);
    let length = u32::try_from(element.len()).expect("short").to_le_bytes();
    [b"\x0f\x03\0\0\0", length.as_slice(), b"\x02", &element, b"\x11IIS://EX1/W3SVC/2\x0b"].concat()
}

/// Get-ExchangeCertificate with one certificate in both of the ways in which it can stand there.
fn listing() -> Vec<u8> {
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let der = &certificates()[0];
    format!(
        "<Objs><Obj><TN><T>Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate</T></TN><Props>\
         <BA N=\"RawData\">{}</BA><BA N=\"SerializationData\">{}</BA><S N=\"Status\">Valid</S></Props></Obj></Objs>",
        base64(der),
        base64(&blob(der))
    )
    .into_bytes()
}

fn redirection() -> Vec<u8> {
    b"<configuration><configurationRedirection enabled=\"true\" path=\"c:\\x\"/></configuration>".to_vec()
}

fn auth() -> Vec<u8> {
    b"<Objs><Obj><TN><T>Microsoft.Exchange.Data.Directory.SystemConfiguration.AuthConfig</T></TN><Props>\
      <S N=\"CurrentCertificateThumbprint\">B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B</S></Props></Obj></Objs>"
        .to_vec()
}
