//! A plan as lines for Windows PowerShell, for whoever wants to do it by hand: the same steps in the same order, from the same bytes.
//!
//! Where Backstay calls an interface that has no command, the line says so, and says what is lost by that. The commands are those of
//! Windows itself, so that they work while 444 does not: the management shell of Exchange needs it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use policy::id::Thumbprint;
use policy::plan::{Plan, Shown, Step};
use policy::report::{RecordKind, SslRecord, Store};

/// The lines. What begins with `#` is for the reader.
pub fn lines(plan: &Plan) -> Vec<String> {
    let mut lines = vec![
        format!("# {} on {}, by hand. In Windows PowerShell as administrator, on that server.", plan.purpose.as_str(), plan.host),
        "# Nobody compares what is there with what is expected, and nobody takes back what fails: look at each answer."
            .to_owned(),
        "netsh http show sslcert > before.txt".to_owned(),
    ];
    for step in &plan.steps {
        lines.extend(by_hand(step, plan));
    }
    lines
}

/// The certificate that the steps before made.
const NEW: &str = "$($new.Thumbprint)";

fn by_hand(step: &Step, plan: &Plan) -> Vec<String> {
    match step {
        Step::AddCertificate { der, store, key, friendly_name: _ } => vec![
            format!("# The certificate is put back, then linked with its key in container {}.", word(&key.container)),
            format!(
                "[IO.File]::WriteAllBytes(\"$env:TEMP\\back-end.cer\", [Convert]::FromBase64String({}))",
                quoted(&STANDARD.encode(&der.0))
            ),
            format!("certutil -f -addstore {} \"$env:TEMP\\back-end.cer\"", word(&named(store))),
            format!("certutil -repairstore {} {}", word(&named(store)), Thumbprint::of(&der.0)),
        ],
        Step::WriteRecord { record } => vec![add(record, &hash(record))],
        Step::CreateKey { container: _, bits } => vec![format!("# A key of {bits} bits: made with the certificate, below.")],
        Step::GrantKey { container: _, access } => {
            let all: Vec<String> = access.iter().map(|access| word(&access.sid)).collect();
            vec![format!("# Afterwards, in certlm.msc, All Tasks, Manage Private Keys: access for {}.", all.join(", "))]
        }
        Step::Mint { container: _, netbios, fqdn, months } => {
            let bits =
                plan.steps.iter().find_map(|step| if let Step::CreateKey { bits, .. } = step { Some(*bits) } else { None });
            vec![
                "# Needs Windows Server 2016; before that, New-ExchangeCertificate makes one, where its shell still works."
                    .to_owned(),
                format!(
                    "$new = New-SelfSignedCertificate -Subject {} -DnsName {}, {} -CertStoreLocation Cert:\\LocalMachine\\My -Provider 'Microsoft RSA SChannel \
                     Cryptographic Provider' -KeySpec KeyExchange -KeyLength {} -HashAlgorithm SHA256 -FriendlyName 'Microsoft Exchange' -NotAfter \
                     (Get-Date).AddMonths({months})",
                    quoted(&format!("CN={netbios}")),
                    quoted(netbios),
                    quoted(fqdn),
                    bits.unwrap_or(2048),
                ),
            ]
        }
        Step::TrustCopy { container: _ } => vec![
            "Export-Certificate -Cert $new -FilePath \"$env:TEMP\\new.cer\" | Out-Null".to_owned(),
            "Import-Certificate -FilePath \"$env:TEMP\\new.cer\" -CertStoreLocation Cert:\\LocalMachine\\Root | Out-Null"
                .to_owned(),
        ],
        Step::DryHandshake { .. } => {
            vec!["# Backstay shakes hands with it on a private port first. There is no command for that.".to_owned()]
        }
        Step::Swap { from, container: _ } => replaced(from, &add(from, NEW)),
        Step::ChangeRecord { from, to } => replaced(from, &add(to, &hash(to))),
        Step::Bind { record, container: _ } => vec![add(record, NEW)],
        Step::Unarchive { thumbprint, store } => vec![
            format!(
                "$store = New-Object Security.Cryptography.X509Certificates.X509Store({}, 'LocalMachine')",
                quoted(&named(store))
            ),
            "$store.Open('ReadWrite, IncludeArchived')".to_owned(),
            format!("($store.Certificates | Where-Object Thumbprint -eq '{thumbprint}').Archived = $false"),
            "$store.Close()".to_owned(),
        ],
        Step::RemoveRecord { record } => vec![delete(record)],
        Step::ChangeBinding { site, from, to } => {
            let binding = |sign: &str, binding: &policy::report::Binding| {
                let (protocol, information) = (word(&binding.protocol), word(&binding.information));
                format!(
                    "& \"$env:windir\\system32\\inetsrv\\appcmd.exe\" set site {} \"/{sign}bindings.[protocol='{protocol}',bindingInformation='{information}']\"",
                    quoted(&format!("/site.name:{site}"))
                )
            };
            let mut lines: Vec<String> = from.iter().map(|from| binding("-", from)).collect();
            lines.push(binding("+", to));
            lines
        }
        Step::Probe { port, shows } => {
            let expected = match shows {
                Shown::Certificate(id) => format!("the certificate with SHA-256 {id}"),
                Shown::OfContainer(_) => NEW.to_owned(),
            };
            vec![
                format!("# What {port} shows now must be {expected}:"),
                format!("$tcp = New-Object Net.Sockets.TcpClient('127.0.0.1', {port})"),
                "$tls = New-Object Net.Security.SslStream($tcp.GetStream(), $false, { $true })".to_owned(),
                format!(
                    "$tls.AuthenticateAsClient({}); $tls.RemoteCertificate.GetCertHashString(); $tcp.Close()",
                    quoted(plan.host.as_str())
                ),
            ]
        }
        Step::Compare => vec![
            "# Nothing else may have changed:".to_owned(),
            "netsh http show sslcert > after.txt; Compare-Object (Get-Content before.txt) (Get-Content after.txt)".to_owned(),
        ],
    }
}

/// Windows changes a record in place for who calls it; by hand it is taken away and written again.
fn replaced(from: &SslRecord, add: &str) -> Vec<String> {
    let gap = format!("# Between these two lines {} serves nothing. Backstay changes the record in place.", word(&from.endpoint));
    vec![gap, format!("{}; {add}", delete(from))]
}

fn delete(record: &SslRecord) -> String {
    format!("netsh http delete sslcert {}", found_by(record))
}

fn add(record: &SslRecord, hash: &str) -> String {
    let mut line = format!("netsh http add sslcert {} certhash={hash}", found_by(record));
    if let Some(app) = record.app_id.known() {
        let _ = write!(line, " appid={}", quoted(app));
    }
    let _ = write!(line, " certstorename={}", word(&named(&record.store())));
    let Some(parameters) = record.parameters.known() else { return line + " # its other parameters are unknown" };
    let switch = |on: bool| if on { "enable" } else { "disable" };
    // As netsh shows them; what it does not take is said behind it.
    for (name, bit, inverted, of) in [
        ("verifyclientcertrevocation", 0x1, true, parameters.check_mode),
        ("verifyrevocationwithcachedclientcertonly", 0x2, false, parameters.check_mode),
        ("usagecheck", 0x1_0000, true, parameters.check_mode),
        ("dsmapperusage", 0x1, false, parameters.flags),
        ("clientcertnegotiation", 0x2, false, parameters.flags),
    ] {
        let on = (of & bit != 0) != inverted;
        // Left out where it is what netsh writes by itself.
        if on != inverted {
            let _ = write!(line, " {name}={}", switch(on));
        }
    }
    for (name, number) in [("revocationfreshnesstime", parameters.freshness), ("urlretrievaltimeout", parameters.url_timeout)] {
        if number != 0 {
            let _ = write!(line, " {name}={number}");
        }
    }
    for (name, text) in [("sslctlidentifier", &parameters.ctl_identifier), ("sslctlstorename", &parameters.ctl_store)] {
        if let Some(text) = text {
            let _ = write!(line, " {name}={}", quoted(text));
        }
    }
    let beyond = parameters.flags & !0x3;
    if beyond != 0 {
        let _ = write!(line, " # and flags {beyond:#x}, which not every netsh can write");
    }
    line
}

fn found_by(record: &SslRecord) -> String {
    let endpoint = word(&record.endpoint);
    match record.kind {
        RecordKind::Address => format!("ipport={endpoint}"),
        RecordKind::Sni => format!("hostnameport={endpoint}"),
        RecordKind::Ccs => format!("ccs={}", record.port().unwrap_or_default()),
    }
}

fn hash(record: &SslRecord) -> String {
    record.thumbprint.map_or_else(|| "NONE".to_owned(), |thumbprint| thumbprint.to_string())
}

fn named(store: &Store) -> String {
    store.to_string()
}

/// In quotes that PowerShell reads as they are. What could end a line or mean something else is left out: these lines are pasted.
fn quoted(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control()).collect();
    // PowerShell takes typographic quotes for quotes.
    let doubled: String = kept
        .chars()
        .flat_map(|c| if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}') { vec![c, c] } else { vec![c] })
        .collect();
    format!("'{doubled}'")
}

/// A word that stands for itself, or its harmless part.
fn word(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '*' | '[' | ']' | '{' | '}'))
        .collect()
}

#[cfg(test)]
mod tests {
    use policy::id::Sha256;
    use policy::plan::{Der, Purpose, Values};
    use policy::report::{Binding, Fact, KeyLink, SslParameters, back_end_endpoint};

    use super::*;

    fn record() -> SslRecord {
        SslRecord {
            kind: RecordKind::Address,
            endpoint: back_end_endpoint(),
            thumbprint: Some(Thumbprint([0x92; 20])),
            store: Some("MY".to_owned()),
            app_id: Fact::Known("{4dc3e181-e14b-4a21-b022-59fc669b0914}".to_owned()),
            parameters: Fact::Known(SslParameters::default()),
        }
    }

    fn plan(steps: Vec<Step>) -> Plan {
        Plan {
            estate: "contoso".parse().expect("a name"),
            host: "EX1".parse().expect("a name"),
            machine_id: "5d1c".to_owned(),
            purpose: Purpose::Renew,
            attempt: 1,
            values: Values { key_bits: 2048, months: 60 },
            expects: Vec::new(),
            steps,
        }
    }

    fn after_head(steps: Vec<Step>) -> String {
        lines(&plan(steps))[3..].join("\n")
    }

    #[test]
    fn a_lost_record_is_one_line() {
        let hash = "92".repeat(20);
        let add = format!(
            "netsh http add sslcert ipport=0.0.0.0:444 certhash={hash} appid='{{4dc3e181-e14b-4a21-b022-59fc669b0914}}' certstorename=MY"
        );
        assert_eq!(after_head(vec![Step::WriteRecord { record: record() }]), add);
        // What somebody set comes along.
        let parameters = SslParameters {
            check_mode: 0x1_0001,
            flags: 0x2,
            freshness: 60,
            ctl_store: Some("it's".to_owned()),
            ..SslParameters::default()
        };
        let set = SslRecord { parameters: Fact::Known(parameters), ..record() };
        let expected = format!(
            "{add} verifyclientcertrevocation=disable usagecheck=disable clientcertnegotiation=enable revocationfreshnesstime=60 sslctlstorename='it''s'"
        );
        assert_eq!(after_head(vec![Step::WriteRecord { record: set }]), expected);
        let more = SslRecord { parameters: Fact::Known(SslParameters { flags: 0x20, ..SslParameters::default() }), ..record() };
        assert!(
            after_head(vec![Step::WriteRecord { record: more }]).ends_with("# and flags 0x20, which not every netsh can write")
        );
    }

    #[test]
    fn a_renewal_says_where_it_is_less_than_ours() {
        let container = || "c0".to_owned();
        let text = after_head(vec![
            Step::CreateKey { container: container(), bits: 2048 },
            Step::Mint { container: container(), netbios: "EX1".into(), fqdn: "ex1.contoso.test".into(), months: 60 },
            Step::TrustCopy { container: container() },
            Step::DryHandshake { container: container() },
            Step::Swap { from: record(), container: container() },
            Step::Probe { port: 444, shows: Shown::OfContainer(container()) },
            Step::Compare,
        ]);
        for words in [
            "New-SelfSignedCertificate -Subject 'CN=EX1' -DnsName 'EX1', 'ex1.contoso.test' -CertStoreLocation Cert:\\LocalMachine\\My",
            "-KeyLength 2048",
            "AddMonths(60)",
            "Cert:\\LocalMachine\\Root",
            "# Between these two lines 0.0.0.0:444 serves nothing. Backstay changes the record in place.",
            "netsh http delete sslcert ipport=0.0.0.0:444; netsh http add sslcert ipport=0.0.0.0:444 certhash=$($new.Thumbprint) appid=",
            "# What 444 shows now must be $($new.Thumbprint):",
            "Compare-Object",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
    }

    #[test]
    fn a_deleted_certificate_comes_back_with_its_key() {
        let key = KeyLink { container: "c0".to_owned(), provider: String::new(), provider_type: 12, flags: 0x20, key_spec: 1 };
        let der = Der(b"der".to_vec());
        let text = after_head(vec![
            Step::AddCertificate { der: der.clone(), store: Store::My, key, friendly_name: None },
            Step::Unarchive { thumbprint: Thumbprint([1; 20]), store: Store::My },
            Step::Probe { port: 444, shows: Shown::Certificate(Sha256([7; 32])) },
        ]);
        assert!(text.contains("FromBase64String('ZGVy')"), "{text}");
        assert!(text.contains(&format!("certutil -repairstore MY {}", Thumbprint::of(&der.0))), "{text}");
        assert!(
            text.contains("Where-Object Thumbprint -eq '0101010101010101010101010101010101010101').Archived = $false"),
            "{text}"
        );
        assert!(text.contains(&"07".repeat(32)), "{text}");
    }

    /// These lines are pasted into a shell of an administrator: nothing that a host says may become a command there.
    #[test]
    fn what_a_host_says_stays_a_word() {
        let evil = "x'; Remove-Item C:\\ -Recurse #\r\nRemove-Item `$(calc)\u{2019}; calc \u{2018}";
        let hostile = SslRecord {
            endpoint: format!("{evil}:444"),
            store: Some(evil.to_owned()),
            app_id: Fact::Known(evil.to_owned()),
            parameters: Fact::Known(SslParameters {
                ctl_store: Some(evil.to_owned()),
                ctl_identifier: Some(evil.to_owned()),
                ..SslParameters::default()
            }),
            ..record()
        };
        let binding = Binding { protocol: evil.to_owned(), information: evil.to_owned(), ssl_flags: 0 };
        let key = KeyLink { container: evil.to_owned(), provider: evil.to_owned(), provider_type: 12, flags: 0x20, key_spec: 1 };
        let container = || evil.to_owned();
        let steps = vec![
            Step::AddCertificate {
                der: Der(vec![1]),
                store: Store::Other(evil.to_owned()),
                key,
                friendly_name: Some(evil.to_owned()),
            },
            Step::WriteRecord { record: hostile.clone() },
            Step::GrantKey { container: container(), access: vec![policy::report::Access { sid: evil.to_owned(), mask: 1 }] },
            Step::Mint { container: container(), netbios: evil.to_owned(), fqdn: evil.to_owned(), months: 60 },
            Step::Swap { from: hostile.clone(), container: container() },
            Step::ChangeBinding { site: evil.to_owned(), from: Some(binding.clone()), to: binding },
            Step::RemoveRecord { record: hostile },
        ];
        for line in lines(&plan(steps)) {
            assert!(!line.contains(['\r', '\n']), "{line}");
            // Outside of what is quoted, none of it is left that ends a word.
            let bare = outside_quotes(&line);
            for word in ["Remove-Item C", "Recurse #", "calc)", "; calc"] {
                assert!(!bare.contains(word), "{word} stands free in {line}");
            }
        }
    }

    /// What of a line PowerShell does not take for a single-quoted text, comments left out.
    fn outside_quotes(line: &str) -> String {
        if line.starts_with('#') {
            return String::new();
        }
        let mut bare = String::new();
        let mut within = false;
        for c in line.chars() {
            if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}') {
                within = !within;
            } else if !within {
                bare.push(c);
            }
        }
        bare
    }
}
