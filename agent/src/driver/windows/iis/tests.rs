use std::os::windows::fs::OpenOptionsExt;
use std::sync::mpsc::channel;

use policy::report::Binding;

use super::*;

const CONFIGURATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<configuration>
    <system.applicationHost>
        <applicationPools><add name="MSExchangeOWAAppPool" autoStart="true" /></applicationPools>
        <customMetadata><key path="LM/W3SVC/2"><property id="5506" dataType="Binary" value="oXiHOzFAMOF0YxIuI7soWvDFEzg="/>
            <property id="5511" dataType="String" value="MY"/></key></customMetadata>
        <sites>
            <site name="Exchange Back End" id="2" serverAutoStart="true"><bindings>
                <binding protocol="http" bindingInformation="*:81:" />
                <binding protocol="https" bindingInformation="*:444:" sslFlags="4" />
            </bindings></site>
            <site name="Büro" id="3"><bindings /></site>
        </sites>
    </system.applicationHost>
    <system.webServer><anything /></system.webServer>
</configuration>
"#;

fn iis() -> (tempfile::TempDir, Iis) {
    let folder = tempfile::tempdir().unwrap();
    let iis = Iis::at(folder.path().to_owned());
    fs::write(iis.path(), CONFIGURATION).unwrap();
    (folder, iis)
}

fn redirection(enabled: bool) -> String {
    format!(
        r#"<configuration><configurationRedirection enabled="{enabled}" path="\\files\iis" userName="u" password="p" /></configuration>"#
    )
}

#[test]
fn sites_bindings_and_left_over_hashes_are_read_and_two_looks_are_equal() {
    let (_folder, iis) = iis();
    let seen = iis.look();
    let sites = seen.sites.known().unwrap();
    let back_end = Binding { protocol: "https".to_owned(), information: "*:444:".to_owned(), ssl_flags: 4 };
    assert_eq!((sites[0].id, sites[0].name.as_str(), sites[0].bindings.get(1)), (2, "Exchange Back End", Some(&back_end)));
    assert_eq!(sites[1].name, "Büro");
    assert_eq!(sites[0].running, Fact::Unknown(NOT_IN_THE_FILE.to_owned()), "serverAutoStart is no state");
    let left = &seen.metabase.known().unwrap()[0];
    let thumbprint = "A178873B314030E17463122E23BB285AF0C51338".parse().ok();
    assert_eq!((left.path.as_str(), left.thumbprint, left.store.as_deref()), ("LM/W3SVC/2", thumbprint, Some("MY")));
    assert_eq!(seen.redirected, Fact::Known(None), "no redirection.config");
    assert_eq!(iis.look(), seen);
}

#[test]
fn a_configuration_that_iis_passes_over_says_nothing_and_is_not_written() {
    let (folder, iis) = iis();
    let path = folder.path().join("redirection.config");
    fs::write(&path, redirection(false)).unwrap();
    assert_eq!(iis.look().redirected, Fact::Known(None));
    assert!(iis.look().sites.known().is_some());
    fs::write(&path, redirection(true)).unwrap();
    let seen = iis.look();
    assert_eq!(seen.redirected, Fact::Known(Some(r"\\files\iis".to_owned())));
    for why in [seen.sites.unknown(), seen.metabase.unknown()] {
        assert!(why.is_some_and(|why| why.ends_with("found one that is passed over for a shared one")), "{why:?}");
    }
    assert!(iis.configuration().is_err());
    assert!(iis.write_configuration(CONFIGURATION).is_err());
    fs::write(&path, "<configuration>").unwrap();
    assert!(iis.look().redirected.unknown().is_some_and(|why| why.contains("line 1, column 1")));
    assert!(iis.look().sites.unknown().is_some());
}

#[test]
fn a_file_that_is_missing_torn_or_something_else_is_unknown_with_its_place_and_the_same_words_each_time() {
    let (_folder, iis) = iis();
    for (content, place) in [
        (Some(&CONFIGURATION[..600]), "line 10, column 17"),
        (Some(&CONFIGURATION[..20]), "line 1, column 1"),
        (Some("<configuration/>"), "is this applicationHost.config?"),
        (Some(""), "found no element"),
        (None, "CreateFile"),
    ] {
        match content {
            Some(content) => fs::write(iis.path(), content).unwrap(),
            None => fs::remove_file(iis.path()).unwrap(),
        }
        let seen = iis.look();
        assert!(seen.sites.unknown().is_some_and(|why| why.contains(place)), "{seen:?}");
        assert!(seen.metabase.unknown().is_some());
        assert_eq!(iis.look(), seen);
    }
}

#[test]
fn a_hash_that_does_not_read_makes_the_whole_unknown() {
    let (_folder, iis) = iis();
    fs::write(iis.path(), CONFIGURATION.replace("oXiHOzFAMOF0YxIuI7soWvDFEzg=", "oXiH")).unwrap();
    assert!(iis.look().metabase.unknown().is_some_and(|why| why.contains("oXiH")));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let (_folder, iis) = iis();
    let file = File::create(iis.path()).unwrap();
    file.set_len(u64::try_from(MAX_INPUT).unwrap() + 1).unwrap();
    let expected = format!("expected at most {MAX_INPUT} bytes, found more");
    assert!(iis.look().sites.unknown().is_some_and(|why| why.ends_with(&expected)));
}

#[test]
fn text_that_comes_back_unchanged_gives_the_same_bytes_in_every_encoding() {
    let (_folder, iis) = iis();
    let units = |bytes: fn(u16) -> [u8; 2]| CONFIGURATION.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    for bytes in [
        CONFIGURATION.as_bytes().to_vec(),
        [b"\xEF\xBB\xBF", CONFIGURATION.as_bytes()].concat(),
        [b"\xFF\xFE".to_vec(), units(u16::to_le_bytes)].concat(),
        [b"\xFE\xFF".to_vec(), units(u16::to_be_bytes)].concat(),
        units(u16::to_le_bytes),
        units(u16::to_be_bytes),
    ] {
        fs::write(iis.path(), &bytes).unwrap();
        let text = iis.configuration().unwrap();
        assert_eq!(text, CONFIGURATION);
        iis.write_configuration(&text).unwrap();
        assert!(fs::read(iis.path()).unwrap() == bytes, "{:02X?}", &bytes[..4]);
        iis.write_configuration(&format!("\u{feff}{text}")).unwrap();
        assert!(fs::read(iis.path()).unwrap() == bytes, "no second mark: {:02X?}", &bytes[..4]);
    }
}

#[test]
fn what_is_written_is_read_back_and_nothing_is_left_beside_it() {
    let (folder, iis) = iis();
    let changed = CONFIGURATION.replace("*:444:", "*:445:");
    iis.write_configuration(&changed).unwrap();
    assert_eq!(iis.configuration().unwrap(), changed);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["applicationHost.config"]);
}

#[test]
fn nothing_is_written_where_no_configuration_is() {
    let (folder, iis) = iis();
    fs::remove_file(iis.path()).unwrap();
    assert!(matches!(iis.write_configuration(CONFIGURATION), Err(DriverError::Refused { code: 2, .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Nobody else may open the file.
const ALONE: u32 = 0;

/// Others may read the file, and not put another in its place.
const READERS: u32 = 1;

/// The file, held.
fn held(iis: &Iis, share: u32) -> File {
    File::options().read(true).share_mode(share).open(iis.path()).unwrap()
}

#[test]
fn a_file_that_stays_held_is_unknown_and_one_that_is_let_go_is_read() {
    let (folder, iis) = iis();
    let hold = held(&iis, ALONE);
    let seen = iis.look();
    assert!(seen.sites.unknown().is_some_and(|why| why.contains("error 32 (in use by another program)")), "{seen:?}");
    assert!(matches!(iis.write_configuration("x"), Err(DriverError::Refused { code: 32, .. })));
    drop(hold);
    let hold = held(&iis, READERS);
    assert!(matches!(iis.write_configuration("x"), Err(DriverError::Refused { code, .. }) if HELD.contains(&code)));
    // Wine's own ReplaceFile leaves files with names of its own.
    let mut names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.any(|name| name.to_string_lossy().contains("backstay")), "nothing of ours is left beside it");
    drop(hold);
    assert_eq!(iis.configuration().unwrap(), CONFIGURATION, "nothing was written");
    let mut tries = 0;
    let mut hold = Some(held(&iis, ALONE));
    let text = patiently(|| {
        tries += 1;
        if tries == 3 {
            hold = None;
        }
        bytes(&iis.path())
    });
    assert_eq!((text.unwrap().len(), tries), (CONFIGURATION.len(), 3));
}

#[test]
fn a_file_that_is_half_written_when_it_is_first_met_is_read_whole() {
    let (_folder, iis) = iis();
    fs::write(iis.path(), &CONFIGURATION[..600]).unwrap();
    let (met, go_on) = channel();
    let path = iis.path();
    let writer = thread::spawn(move || {
        go_on.recv().unwrap();
        fs::write(path, CONFIGURATION).unwrap();
    });
    let text = read(&iis.path(), |text| {
        // The first try meets the half; the writer ends while it is being looked at again.
        let _ = met.send(());
        xml::parse(text).map(|_| text.len()).map_err(|error| unreadable(&iis.path(), "XML", error.to_string()))
    });
    writer.join().unwrap();
    assert_eq!(text.unwrap(), CONFIGURATION.len());
}
