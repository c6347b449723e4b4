use super::*;

struct Host {
    folder: tempfile::TempDir,
}

/// A host whose agent is told by the file `given.toml` where everything is.
fn host() -> Host {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host { folder };
    let paths = [("state_dir", "data/agent"), ("join_token_file", "data/join-token")];
    let text: String = paths.iter().map(|(key, path)| format!("{key} = {:?}\n", host.path(path))).collect();
    host.write("given.toml", &text);
    host.write("token", &token_text());
    host
}

fn token_text() -> String {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let (hash, secret) = ("01".repeat(32), BASE64_URL_SAFE_NO_PAD.encode([0xA5; 32]));
    let json = format!(
        r#"{{"estate":"contoso","server":"EX1","ca":["{hash}"],"root":"{hash}","secret":"{secret}","controllers":["ctl.contoso.test:7444"],"agents":["ctl.contoso.test:7443"]}}"#
    );
    format!("backstay-join-1.{}", BASE64_URL_SAFE_NO_PAD.encode(json))
}

impl Host {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("data/agent.toml")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn given(&self, config_file: &str, join_token_file: &str) -> Given {
        let path = |name: &str| if name.is_empty() { String::new() } else { self.path(name).display().to_string() };
        Given { controllers: String::new(), join_token_file: path(join_token_file), config_file: path(config_file) }
    }

    fn does(&self, asked: &Setup) -> Result<String, SetupError> {
        setup(asked, &self.config())
    }

    fn purge(&self) -> Result<String, SetupError> {
        self.does(&Setup::Leave { purge: "1".to_owned() })
    }
}

#[test]
fn controllers_become_a_configuration_that_reads() {
    let host = host();
    let given = Given { controllers: "https://ctl.contoso.test:7444/, ctl-2;[::1]".to_owned(), ..Given::default() };
    host.does(&Setup::Configure(given)).expect("configured");
    let read = Config::from_toml(&host.read("data/agent.toml").expect("written"), &host.config()).expect("reads");
    let read: Vec<_> = read.controllers.enrolment.iter().map(Address::as_str).collect();
    assert_eq!(read, ["ctl.contoso.test:7444", "ctl-2:7444", "[::1]:7444"]);
}

#[test]
fn what_is_no_address_is_refused_and_leaves_nothing_but_the_reason() {
    for wrong in ["http://ctl:7444", "ctl:0", "ctl:99999", "c/t\\l", "\"x\"", "[::1"] {
        let host = host();
        let given = Given { controllers: wrong.to_owned(), ..Given::default() };
        let refused = host.does(&Setup::Configure(given));
        assert!(matches!(refused, Err(SetupError::Address(_))), "{wrong}: {refused:?}");
        assert!(!host.config().exists());
        assert!(host.read("data/setup.log").expect("a log").contains("configure: refused: CONTROLLER_URL: "));
    }
}

#[test]
fn a_configuration_and_a_token_are_put_in_place_and_a_second_time_changes_nothing() {
    let host = host();
    host.does(&Setup::Configure(host.given("given.toml", "token"))).expect("configured");
    assert_eq!(host.read("data/agent.toml"), host.read("given.toml"));
    assert_eq!(host.read("data/join-token"), Some(token_text()));

    host.write("data/agent.toml", &format!("{}# mine\n", host.read("given.toml").expect("given")));
    let said = host.does(&Setup::Configure(host.given("given.toml", ""))).expect("configured");
    assert!(said.contains("is there and stays as it is"), "{said}");
    assert!(host.read("data/agent.toml").expect("kept").ends_with("# mine\n"));

    host.write("data/agent/joined.json", "{}");
    fs::remove_file(host.path("data/join-token")).expect("removed");
    let said = host.does(&Setup::Configure(host.given("", "token"))).expect("configured");
    assert!(said.contains("has joined") && host.read("data/join-token").is_none(), "{said}");
}

#[test]
fn a_file_that_is_no_configuration_or_holds_no_token_is_refused_and_nothing_of_it_is_repeated() {
    let host = host();
    host.write("wrong.toml", "look_evry = \"60s\"\n");
    assert!(matches!(host.does(&Setup::Configure(host.given("wrong.toml", ""))), Err(SetupError::Config(_))));
    host.write("large.toml", &"#".repeat(70_000));
    assert!(matches!(host.does(&Setup::Configure(host.given("large.toml", ""))), Err(SetupError::Io { .. })));
    assert!(matches!(host.does(&Setup::Configure(host.given("none.toml", ""))), Err(SetupError::Io { .. })));

    host.write("wrong", "backstay-join-1.SECRET");
    assert!(matches!(host.does(&Setup::Configure(host.given("", "wrong"))), Err(SetupError::Token(_))));
    assert!(matches!(host.does(&Setup::Configure(host.given("", "none"))), Err(SetupError::NoToken(_))));
    // The file of the token in place of a configuration.
    assert!(matches!(host.does(&Setup::Configure(host.given("token", ""))), Err(SetupError::Config(_))));
    // The token itself, in place of its file.
    let given = Given { join_token_file: token_text(), ..Given::default() };
    assert!(matches!(host.does(&Setup::Configure(given)), Err(SetupError::NoPath("JOIN_TOKEN_FILE"))));
    let log = host.read("data/setup.log").expect("a log");
    assert!(!host.config().exists() && !log.contains("SECRET") && !log.contains(&token_text()[16..]), "{log}");
    assert!(log.lines().all(|line| line.contains(" configure: refused: ")), "a line for each: {log}");
}

#[test]
fn what_is_taken_back_is_what_was_put_there_and_nothing_else() {
    let host = host();
    let given = host.given("given.toml", "token");
    host.does(&Setup::Configure(given.clone())).expect("configured");
    host.does(&Setup::Unconfigure(given.clone())).expect("taken back");
    assert_eq!((host.read("data/agent.toml"), host.read("data/join-token")), (None, None));

    host.does(&Setup::Configure(given.clone())).expect("configured");
    host.write("data/agent.toml", &format!("{}# mine\n", host.read("given.toml").expect("given")));
    host.write("data/join-token", "another");
    host.does(&Setup::Unconfigure(given)).expect("taken back");
    assert!(host.read("data/agent.toml").is_some() && host.read("data/join-token").is_some());

    // The file was where the agent reads it all along.
    host.write("data/join-token", &token_text());
    let given = host.given("", "data/join-token");
    host.does(&Setup::Configure(given.clone())).expect("configured");
    host.does(&Setup::Unconfigure(given)).expect("taken back");
    assert_eq!(host.read("data/join-token"), Some(token_text()));
}

#[test]
fn a_host_with_a_plan_at_work_is_not_left() {
    let host = host();
    host.does(&Setup::Configure(host.given("given.toml", ""))).expect("configured");
    host.write("data/agent/journal", "BSTJRNL1");
    for purge in ["", "1"] {
        let refused = host.does(&Setup::Leave { purge: purge.to_owned() });
        assert!(matches!(refused, Err(SetupError::AtWork(_))), "{refused:?}");
    }
    fs::remove_file(host.path("data/agent/journal")).expect("looked at");
    host.does(&Setup::Leave { purge: String::new() }).expect("left");
    assert!(host.config().exists() && host.path("data/agent").exists());
}

#[test]
fn a_purge_takes_what_is_the_agents_and_leaves_what_is_not() {
    let host = host();
    host.does(&Setup::Configure(host.given("given.toml", "token"))).expect("configured");
    host.write("data/agent/receipts/1.json", "{}");
    host.write("data/agent.lock", "");
    host.write("data/controller.toml", "");
    host.purge().expect("purged");
    let left: Vec<_> =
        fs::read_dir(host.path("data")).expect("reads").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["controller.toml"]);
    host.purge().expect("there is nothing");
}

#[test]
fn a_purge_does_not_reach_outside_the_folder_of_the_agent() {
    for outside in ["elsewhere", "data", "data/../elsewhere"] {
        let host = host();
        host.write("elsewhere/mine", "x");
        host.write("data/mine", "x");
        host.write(
            "data/agent.toml",
            &format!("state_dir = {:?}\njoin_token_file = {:?}\n", host.path(outside), host.path("token")),
        );
        host.purge().expect("purged");
        assert!(
            host.path("elsewhere/mine").exists() && host.path("data/mine").exists() && host.path("token").exists(),
            "{outside}"
        );
        assert!(host.read("data/setup.log").expect("kept").contains("remove it by hand"));
    }
}
